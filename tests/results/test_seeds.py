"""Several seeds: which, what is written, what an interruption leaves, and how it goes on."""

import json
import shutil
import statistics

import numpy as np
import pytest
from tiny import blobs, short

import imcswav
from imcswav.data.array import ArrayData
from imcswav.errors import ImcswavError, RecipeError, RunError
from imcswav.learners.multiview import MultiView
from imcswav.recipe.seed_numbers import seed_numbers
from imcswav.results.seeds import resume_seeds, run_seeds
from imcswav.results.series import Spread, read


@pytest.fixture
def recipe(tiny):
    tiny["callbacks"]["console"] = {"enabled": False}
    return short(tiny)


def images():
    pixels, labels = blobs()
    return ArrayData.of(pixels, labels=labels)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0-4", (0, 1, 2, 3, 4)), ("0,3,7", (0, 3, 7)), ("0-2,5", (0, 1, 2, 5)), ("7", (7,)),
        (" 1 , 3 - 4 ", (1, 3, 4)), ("2,0-3", (2, 0, 1, 3)), ([4, 4, 1], (4, 1)), (range(3), (0, 1, 2)), (5, (5,)),
        (np.arange(2), (0, 1)),
    ],
)  # fmt: skip
def test_seeds_as_written(text, seeds):
    assert seed_numbers(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4-0", "-1", "1-", "1,,2", "0-1000", [-1], ["1"], [], "0-9999999999999999"])
def test_what_are_no_seeds(text):
    with pytest.raises(ValueError, match=r"seeds|backwards"):
        seed_numbers(text)


def test_mean_and_sample_deviation():
    assert str(Spread.of([0.97, 0.98, 0.985])) == "97.8 ± 0.8 (n = 3)"
    assert Spread.of([0.1, 0.4]).std == pytest.approx(statistics.stdev([0.1, 0.4]))
    assert str(Spread.of([0.5])) == "50.0 (n = 1)"


def test_each_seed_is_an_ordinary_run(recipe, tmp_path):
    result = run_seeds(recipe, "3,1", out=tmp_path / "seeds", data=images())
    assert list(result.runs) == [3, 1]
    for seed in (1, 3):
        alone = imcswav.run(recipe, {"seed": seed}, out=tmp_path / f"alone-{seed}", data=images())
        folder = tmp_path / "seeds" / f"seed-{seed}"
        assert (folder / "assignments.csv").read_text() == (alone.path / "assignments.csv").read_text()
        assert (folder / "recipe.toml").read_text() == (alone.path / "recipe.toml").read_text()
        assert result.runs[seed].summary["seed"] == seed
    found = json.loads((tmp_path / "seeds" / "seeds.json").read_text())
    values = [result.runs[seed].summary["acc"] for seed in (3, 1)]
    assert found["scores"]["acc"]["values"] == dict(zip("31", values, strict=True))
    assert found["scores"]["acc"]["mean"] == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert found["scores"]["acc"]["std"] == pytest.approx(statistics.stdev(values), abs=1e-6)
    assert found["scores"]["acc"]["n"] == 2
    assert "n - 1" in found["deviation"]
    assert (found["seeds"], found["finished"]) == ([3, 1], [3, 1])
    assert found["protocol"] == "trained and scored on train"
    assert found["environment"]["packages"]["torch"]
    assert "seed" not in found["environment"]


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(recipe, tmp_path, monkeypatch):
    """Stopped in the second of two seeds; the first isn't run again, the second goes on from its checkpoint."""
    steps, told = [], []

    def watch(learner, progress):
        steps.append(progress.step)
        if len(steps) == 8 + 4 + 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(MultiView, "after_step", watch)
    folder = tmp_path / "seeds"
    with pytest.raises(KeyboardInterrupt):
        run_seeds(recipe, "0-1", out=folder, data=images(), tell=told.append)
    assert read(folder)["finished"] == [0]
    assert told[-1] == f"Seeds not finished: 1; go on with: imcswav resume {folder}"
    before = (folder / "seed-0" / "summary.json").stat().st_mtime_ns
    steps.clear()
    monkeypatch.setattr(MultiView, "after_step", lambda learner, progress: steps.append(progress.step))
    result = run_seeds(recipe, "0-1", out=folder, data=images(), resume=True)
    assert steps == [4, 5, 6, 7]
    assert (folder / "seed-0" / "summary.json").stat().st_mtime_ns == before
    assert read(folder)["finished"] == [0, 1]
    straight = run_seeds(recipe, "0-1", out=tmp_path / "straight", data=images())
    assert {key: str(value) for key, value in result.scores.items()} == {
        key: str(value) for key, value in straight.scores.items()
    }
    steps.clear()
    assert list(resume_seeds(folder, data=images()).runs) == [0, 1]
    assert steps == []


def test_a_finished_series_stays_whole_where_it_is_stopped_once_more(recipe, tmp_path):
    folder = tmp_path / "seeds"
    run_seeds(recipe, "0-1", out=folder, data=images())
    before, said = (folder / "seeds.json").read_text(), []

    def stop(text):
        said.append(text)
        if text == "Seed 1 (2 of 2)":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resume_seeds(folder, data=images(), tell=stop)
    assert said[-1] == "Seed 1 (2 of 2)"  # nothing is left to go on with
    assert (folder / "seeds.json").read_text() == before


def test_where_to_run_may_change_on_going_on(recipe, tmp_path, monkeypatch):
    def stop(learner, progress):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MultiView, "after_step", stop)
        with pytest.raises(KeyboardInterrupt):
            run_seeds(recipe, "0", out=tmp_path / "seeds", data=images())
    place = {"evaluation.time_to_acc": 0.01, "trainer.log_every": 1}
    result = run_seeds(recipe, "0", place, out=tmp_path / "seeds", data=images(), resume=True)
    assert result.runs[0].summary["time_to_acc"] == 0.01
    assert len((tmp_path / "seeds" / "seed-0" / "metrics.jsonl").read_text().splitlines()) > 8


def test_a_run_that_can_not_go_on_is_started_anew_beside(recipe, tmp_path):
    """Its checkpoints were deleted, and it has results: nothing of them is overwritten."""
    kept = run_seeds(recipe, "0", out=tmp_path / "seeds", data=images()).runs[0].path
    shutil.rmtree(kept / "checkpoints")
    (kept / "summary.json").unlink()
    resume_seeds(tmp_path / "seeds", data=images())
    assert read(tmp_path / "seeds")["runs"] == {"0": "seed-0-2"}
    assert (kept / "model").is_dir()


def test_seeds_can_be_added_to_the_newest_series_of_the_same_recipe(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="no series of seeds of this recipe"):
        run_seeds(recipe, "0", data=images(), resume=True)
    first = run_seeds(recipe, "0", data=images())
    other = run_seeds(recipe, "0", {"optimizer.lr": 2e-3}, data=images())
    again = run_seeds(recipe | {"expected": {"acc": 0.9}}, "4", {"trainer.log_every": 7}, data=images(), resume=True)
    assert again.path == first.path != other.path
    assert list(again.runs) == [0, 4]
    with pytest.raises(RunError, match="are of another recipe"):
        run_seeds(recipe, "0", out=other.path, data=images(), resume=True)


def test_what_is_wrong_is_told_before_a_folder_is_made(recipe, tmp_path):
    out = tmp_path / "seeds"
    with pytest.raises(ImcswavError, match="--seeds: seeds are written like"):
        run_seeds(recipe, "some", out=out, data=images())
    with pytest.raises(RecipeError, match="41 clusters"):
        run_seeds(recipe, "0-1", {"clusters": 41}, out=out, data=images())
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(RunError, match="nothing is overwritten"):
        run_seeds(recipe, "0-1", out=out, data=images())
    with pytest.raises(RunError, match=r"no readable seeds\.json"):
        resume_seeds(out)


def test_a_warning_is_told_once(recipe, tmp_path):
    told = []
    recipe["schedule"] = {"name": "constant", "warmup_steps": 500}
    run_seeds(recipe, "0-1", out=tmp_path / "seeds", data=images(), warn=told.append)
    assert [problem.path for problem in told] == ["schedule"]


def test_without_labels_there_are_no_scores(recipe, tmp_path, capsys):
    from imcswav.results import tables
    from imcswav.results.comparison import compare_runs
    from imcswav.results.gathered import gather

    result = run_seeds(recipe, "0-1", out=tmp_path / "seeds", data=ArrayData.of(blobs()[0]))
    assert result.scores == {}
    tables.seeds(result)
    tables.comparison(compare_runs([tmp_path / "seeds"]))
    tables.gathered(gather([tmp_path / "seeds"]))
    said = capsys.readouterr().out
    assert "no labels, so no scores" in said
    assert "Figures in %" in said  # the protocols
    for left_out in ("ACC", "mean ±", "ρ"):
        assert left_out not in said


def test_seeds_added_under_another_version_are_said(recipe, tmp_path, monkeypatch):
    out = tmp_path / "seeds"
    run_seeds(recipe, "0", out=out, data=images())
    first = read(out)["environment"]
    monkeypatch.setattr("imcswav.environment.PACKAGES", ("numpy",))
    run_seeds(recipe, "0", out=out, data=images(), resume=True)
    assert read(out)["environment"] == first  # nothing was trained
    run_seeds(recipe, "0-2", out=out, data=images(), resume=True)
    found = read(out)["environment"]
    (entry,) = found.pop("resumed")
    assert found == first
    assert list(entry["packages"]) == ["numpy"]
    assert not {"platform", "seed"} & set(entry)
