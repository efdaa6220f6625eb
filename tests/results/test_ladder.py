"""Ladders: the figures against plain formulas, what is written, going on, failing rungs, added seeds and rungs."""

import csv
import json
import math
import shlex

import pytest
import tomli_w
from cli_calls import call
from tiny import blobs, short

import imcswav
from imcswav.api import RunResult
from imcswav.data.array import ArrayData
from imcswav.errors import ImcswavError, RecipeError, RunError
from imcswav.learners.multiview import MultiView
from imcswav.recipe.files import load_recipe
from imcswav.results.ladder import run_ladder
from imcswav.results.ladder_page import changed, markdown
from imcswav.results.ladder_table import record, rows, sheet
from imcswav.results.rungs import Gain, LadderResult, Rung, changes_between, gain_over
from imcswav.runs import REFERENCE

SHARPER = '[[losses]]\nname = "swav"\ntemperature = 0.2\n'
NAN = "[optimizer]\nlr = 1e30\n"


@pytest.fixture
def steps(tiny, tmp_path):
    """A ladder of two rungs, four steps an epoch, two epochs."""
    tiny["callbacks"]["console"] = {"enabled": False}
    (folder := tmp_path / "steps").mkdir()
    (folder / "a_baseline.toml").write_text(tomli_w.dumps(short(tiny)))
    add(folder, "b_sharper", "a_baseline", SHARPER)
    return folder


def add(folder, name, below, text):
    (folder / f"{name}.toml").write_text(f'extends = "{below}.toml"\n{text}')


def images():
    pixels, labels = blobs()
    return ArrayData.of(pixels, labels=labels)


def written(folder):
    known = json.loads((folder / "ladder.json").read_text())
    return known, {rung["name"]: rung for rung in known["rungs"]}


def watched(monkeypatch, stop_at=None):
    """Counts training steps, by the number each has in its run; Ctrl-C in the ``stop_at``th."""
    seen = []

    def after_step(learner, progress):
        seen.append(progress.step)
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(MultiView, "after_step", after_step)
    return seen


def mean(values):
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def deviation(values):
    total = 0.0
    for value in values:
        total += (value - mean(values)) ** 2
    return math.sqrt(total / (len(values) - 1))


def test_gain_is_paired_over_the_seeds_of_both():
    below = {0: 0.50, 1: 0.70, 2: 0.60, 7: 0.1}
    here = {9: 0.9, 2: 0.65, 1: 0.74, 0: 0.53}
    gain = Gain.between(below, here)
    differences = [0.05, 0.04, 0.03]
    assert gain.seeds == (2, 1, 0)
    assert gain.mean == pytest.approx(mean(differences))
    assert gain.error == pytest.approx(deviation(differences) / math.sqrt(3))
    assert gain.helps == "yes"
    assert Gain.between(here, below).helps == "no"
    assert Gain.between({0: 0.5, 1: 0.6}, {1: 0.7, 2: 0.8}) is None


@pytest.mark.parametrize(
    ("gain", "error", "helps"),
    [
        (0.05, 0.024, "yes"), (0.05, 0.025, "not shown"), (0.0, 0.0, "not shown"), (0.01, 0.0, "yes"),
        (-0.05, 0.024, "no"), (-0.05, 0.03, "not shown"),
    ],
)  # fmt: skip
def test_helps_is_a_gain_of_more_than_two_standard_errors(gain, error, helps):
    assert Gain(gain, error, (0, 1, 2)).helps == helps
    assert Gain(gain, error, (0, 1)).helps == "not shown"  # two seeds are too few


def test_every_rung_runs_with_every_seed_and_is_compared_with_the_one_below(steps, tmp_path):
    result = run_ladder(steps, "3,1", {"trainer.epochs": 1}, out=tmp_path / "out", data=images())
    known, rungs = written(tmp_path / "out")
    assert list(rungs) == ["a_baseline", "b_sharper"]
    columns, acc = {}, {}
    for name, rung in rungs.items():
        alone = imcswav.run(
            steps / f"{name}.toml", {"trainer.epochs": 1, "seed": 3}, out=tmp_path / name, data=images()
        )
        place = tmp_path / "out" / name
        same = (place / "seed-3" / "assignments.csv").read_text() == (alone.path / "assignments.csv").read_text()
        assert same
        summaries = [json.loads((place / f"seed-{seed}" / "summary.json").read_text()) for seed in (3, 1)]
        assert (rung["n"], rung["finished"]) == (2, [3, 1])
        for metric in ("acc", "nmi", "ari", "knn"):
            values = [one[metric] for one in summaries]
            assert rung["scores"][metric]["mean"] == pytest.approx(mean(values), abs=1e-12)
            assert rung["scores"][metric]["std"] == pytest.approx(deviation(values), abs=1e-12)
            assert rung["scores"][metric]["values"] == dict(zip("31", values, strict=True))
        for fact in ("seconds", "cpu_seconds"):
            assert rung[fact] == pytest.approx(mean([one[fact] for one in summaries]))
        acc[name] = [one["acc"] for one in summaries]
        columns[name] = f"{100 * mean(acc[name]):.1f} ± {100 * deviation(acc[name]):.1f}"
    differences = [here - below for below, here in zip(acc["a_baseline"], acc["b_sharper"], strict=True)]
    error = deviation(differences) / math.sqrt(2)
    assert rungs["a_baseline"]["gain"] is rungs["a_baseline"]["helps"] is None
    gain = rungs["b_sharper"]["gain"]
    assert gain["mean"] == pytest.approx(mean(differences), abs=1e-12)
    assert gain["standard_error"] == pytest.approx(error, abs=1e-12)
    assert (gain["n"], gain["paired"], gain["seeds"]) == (2, True, [3, 1])
    assert result.rungs[1].helps == rungs["b_sharper"]["helps"]
    assert rungs["b_sharper"]["changes"]["losses.0.temperature"] == {"below": 0.1, "here": 0.2}
    assert known["protocol"] == "trained and scored on train"
    assert known["environment"]["packages"]["torch"]
    text = (tmp_path / "out" / "ladder.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| b_sharper | 2 |"))
    assert columns["b_sharper"] in row
    assert f"{100 * mean(differences):+.1f} ± {100 * error:.1f}" in row
    assert "`losses.0.temperature`: `0.1` → `0.2`" in text
    assert "trained and scored on train" in text
    with (tmp_path / "out" / "ladder.csv").open(newline="") as file:
        (low, high) = csv.DictReader(file)
    assert float(high["acc_mean"]) == pytest.approx(mean(acc["b_sharper"]), abs=1e-12)
    assert float(high["acc_gain"]) == pytest.approx(mean(differences), abs=1e-12)
    assert (low["acc_gain"], low["helps"], high["acc_gain_paired"]) == ("", "", "yes")


def test_ctrl_c_names_the_command_that_goes_on_where_it_stopped(steps, tmp_path, monkeypatch):
    """Stopped in the fifth of eight steps of the upper rung's first seed, after both seeds of the lower one."""
    told, out = [], tmp_path / "out"
    watched(monkeypatch, stop_at=8 + 8 + 5)
    with pytest.raises(KeyboardInterrupt):
        run_ladder(steps, "0-1", ["trainer.log_every=2"], out=out, data=images(), tell=told.append)
    command = told[-1].removeprefix("b_sharper: Seeds not finished: 0, 1; go on with: ")
    words = ["imcswav", "ladder", str(steps), "--seeds", "0,1", "--resume", "--out", str(out)]
    assert shlex.split(command) == [*words, "--set", "trainer.log_every=2"]
    assert [rung["n"] for rung in written(out)[1].values()] == [2, 0]
    seen = watched(monkeypatch)
    resumed = run_ladder(steps, "0-1", {"evaluation.time_to_acc": 0.5}, out=out, data=images(), resume=True)
    assert seen == [4, 5, 6, 7, *range(8)]
    straight = run_ladder(steps, "0-1", out=tmp_path / "straight", data=images())
    assert [rung.scores for rung in resumed.rungs] == [rung.scores for rung in straight.rungs]
    seen.clear()
    again = run_ladder(steps, "0-1", out=out, data=images(), resume=True)
    assert seen == []
    assert [rung.gain for rung in again.rungs] == [rung.gain for rung in resumed.rungs]


def test_seeds_and_rungs_may_be_added(steps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="no runs of this ladder under runs/steps"):
        run_ladder("steps", "0", data=images(), resume=True)
    first = run_ladder("steps", "0", data=images())
    assert first.path.parent == first.path.parents[1] / "steps"
    assert [(rung.gain, rung.helps) for rung in first.rungs] == [(None, None), (None, "not shown")]
    other = run_ladder("steps", "0", {"optimizer.lr": 2e-3}, data=images())
    with pytest.raises(
        RunError, match=r"newest runs of this ladder, in runs/steps/.*optimizer.lr was 0.002\); give the same"
    ):
        run_ladder("steps", "0", {"optimizer.lr": 0.5}, data=images(), resume=True)
    add(tmp_path / "steps", "aa_between", "a_baseline", "[optimizer]\nlr = 3e-3\n")
    seen = watched(monkeypatch)
    again = run_ladder("steps", "1", data=images(), resume=True)
    assert again.path == first.path != other.path
    assert len(seen) == 3 * 8  # a run a rung
    assert {rung.name: list(rung.runs) for rung in again.rungs} == {
        "a_baseline": [0, 1], "aa_between": [1], "b_sharper": [0, 1],
    }  # fmt: skip
    assert [rung.gain and rung.gain.seeds for rung in again.rungs] == [None, None, (0, 1)]  # one seed is too few
    run_ladder("steps", "0", data=images(), resume=True)
    known, rungs = written(first.path)
    assert [rung["gain"] and rung["gain"]["n"] for rung in rungs.values()] == [None, 2, 2]
    assert [rung["below"] for rung in rungs.values()] == [None, "a_baseline", "a_baseline"]  # both extend it
    assert "resumed" not in known["environment"]
    with pytest.raises(RunError, match=r"a_baseline are of another recipe than .* was .*; give the same --set"):
        run_ladder("steps", "0", out=other.path, data=images(), resume=True)


def test_another_ladder_s_table_is_not_written_over(steps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = run_ladder(steps, "0-1", data=images())
    (other := tmp_path / "deep" / "steps").mkdir(parents=True)  # of the same name
    (other / "x.toml").write_text((steps / "a_baseline.toml").read_text())
    before = (first.path / "ladder.md").read_text()
    with pytest.raises(RunError, match=r"is of the ladder 'steps', whose table would be lost"):
        run_ladder(other, "0", out=first.path, data=images(), resume=True)
    with pytest.raises(RunError, match="have other rungs; leave --resume out"):
        run_ladder(other, "0", data=images(), resume=True)
    assert (first.path / "ladder.md").read_text() == before
    run_ladder(steps, "0", data=images(), resume=True)
    assert (first.path / "ladder.md").read_text() == before  # with the seeds of before


def test_a_rung_that_diverges_is_reported_and_the_others_go_on(steps, tmp_path):
    add(steps, "aa_wild", "a_baseline", NAN)
    add(steps, "c_above", "aa_wild", "[optimizer]\nlr = 1e-3\n")
    out = tmp_path / "out"
    for resume in (False, True):  # another try ends as the first
        result = run_ladder(steps, "0-1", out=out, data=images(), resume=resume)
        assert [rung.name for rung in result.failed] == ["aa_wild"]
        _, rungs = written(out)
        assert [rung["n"] for rung in rungs.values()] == [2, 0, 2, 2]
        assert rungs["aa_wild"]["failure"].startswith(("The loss became ", "The norm of the weights became "))
        # b extends a, which is sound; c extends what failed
        assert [rung["gain"] is None for rung in rungs.values()] == [True, True, False, True]
        text = (out / "ladder.md").read_text()
        assert f"- `aa_wild`: {rungs['aa_wild']['failure']}" in text
        assert "| failed |" in text


def test_rungs_of_other_protocols_are_not_compared(tmp_path):
    def runs(protocol="trained on train, scored on test", images=9, statistics="train"):
        summary = {"metrics": ["acc"], "protocol": protocol, **dict.fromkeys(REFERENCE)}
        summary |= {"scored_on": f"test ({images} images)", "bn_statistics": statistics}
        return {seed: RunResult(tmp_path, summary | {"acc": 0.5 + 0.1 * seed}) for seed in (0, 1)}

    below = Rung("a", tmp_path, runs(), None, {}, None, None)
    assert gain_over(below, runs(), ["data.size", "trainer.epochs"]) == Gain(0.0, 0.0, (0, 1))
    assert gain_over(below, runs("trained and scored on train")) is None
    assert gain_over(below, runs(images=8)) is None
    assert gain_over(below, runs(statistics="test")) is None
    assert gain_over(below, runs(), ["data.file"]) is None


def test_without_labels_there_are_no_scores_and_no_gain(steps, tmp_path, capsys):
    from imcswav.results import tables

    out = tmp_path / "out"
    result = run_ladder(steps, "0-1", {"trainer.epochs": 1}, out=out, data=ArrayData.of(blobs()[0]))
    assert [(rung.scores, rung.gain) for rung in result.rungs] == [({}, None)] * 2
    tables.ladder(result)
    assert "not shown" in capsys.readouterr().out


def test_what_is_wrong_is_told_before_a_folder_is_made(steps, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ImcswavError, match="--seeds: seeds are written like"):
        run_ladder(steps, "some", out=out, data=images())
    with pytest.raises(RecipeError, match="41 clusters"):
        run_ladder(steps, "0-1", {"clusters": 41}, out=out, data=images())
    add(steps, "y_wrong", "b_sharper", "[optimizer]\nlr = -1\n")
    add(steps, "z_last", "y_wrong", "[heads.prototypes]\ncount = 0\n")
    with pytest.raises(RecipeError) as caught:  # all that is wrong, each once, with the rungs that have it
        run_ladder(steps, "0-1", {"optimizer.nothing": 1}, out=out, data=images())
    told = str(caught.value).splitlines()
    assert told[0].endswith(": 3 problems")
    assert [line.strip().split(": ")[0] for line in told[1:]] == ["every rung", "y_wrong, z_last", "z_last"]
    assert "every rung: optimizer.nothing: is no setting" in told[1]
    assert f"{steps / 'y_wrong.toml'}:3: optimizer.lr: must be greater than 0" in told[2]
    assert f"{steps / 'z_last.toml'}:3: heads.prototypes.count" in told[3]
    for name in ("y_wrong", "z_last"):
        (steps / f"{name}.toml").unlink()
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(RunError, match="nothing is overwritten"):
        run_ladder(steps, "0-1", out=out, data=images())
    with pytest.raises(RunError, match=r"no readable ladder\.json"):
        run_ladder(steps, "0-1", out=out, data=images(), resume=True)


def test_a_warning_of_several_rungs_is_told_once(steps, tmp_path):
    told = []
    run_ladder(
        steps, "0-1", {"schedule": {"name": "constant", "warmup_steps": 500}}, tmp_path / "out", images(), told.append
    )
    assert [problem.path for problem in told] == ["schedule"]


def test_what_changed_is_short(tiny, tmp_path):
    """A part that comes, goes or is replaced takes one line; names and expected figures are no change."""
    tiny["losses"] = tiny["losses"][:1]
    below = load_recipe(tiny)
    above = load_recipe(
        tiny | {"name": "other", "expected": {"acc": 0.5}, "optimizer": {"name": "sgd", "lr": 1e-3}, "seed": 4},
        {"losses": [{"name": "swav"}, {"name": "imc", "weight": 0.5}]},
    )
    lines = changed(Rung("b", tmp_path, {}, "a", changes_between(below, above), None, None))
    (new,) = [line for line in lines if line.startswith("`losses.1`: none → `imc` (")]
    assert "weight 0.5" in new
    assert "`seed`: `0` → `4`" in lines
    (replaced,) = [line for line in lines if line.startswith("`optimizer`: `adam` (")]
    assert "→ `sgd` (" in replaced
    assert "lr" not in replaced  # is the same
    assert len(lines) == 3
    assert changed(Rung("b", tmp_path, {}, "a", changes_between(below, below), None, None)) == ["nothing"]


def test_the_command(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny["trainer"]["max_steps"] = 3
    (folder := tmp_path / "mine").mkdir()
    (folder / "low.toml").write_text(tomli_w.dumps(tiny))
    add(folder, "wild", "low", NAN)
    words = ("ladder", "mine", "--seeds", "0-1", "--set", "trainer.log_every=1", "--device", "cpu", "--out", "out")
    code, out, err = call(capsys, *words)
    assert code == 2
    for text in (
        "mine: figures in %",
        "KNN",
        "wild failed: The norm of the weights became",
        "sample standard deviation",
    ):
        assert text in out, text
    assert "low: Seed 1 (2 of 2)" in err
    (folder / "wild.toml").unlink()
    code, out, err = call(capsys, *words, "--resume")
    assert code == 0, err
    assert "wild" not in out


def test_seconds_to_a_stated_accuracy_are_told(tmp_path):
    def rung(name, seconds):
        summaries = {
            seed: {"metrics": [], "protocol": "p", **dict.fromkeys(REFERENCE), "seconds": 9.0, "cpu_seconds": 8.0}
            | {"time_to_acc": 0.891, "seconds_to_acc": one}
            for seed, one in enumerate(seconds)
        }
        runs = {seed: RunResult(tmp_path, summary) for seed, summary in summaries.items()}
        return Rung(name, tmp_path, runs, None, {}, None, None)

    times = {"a": [2.0, 4.5], "b": [None, 3.0], "c": [None], "d": []}
    result = LadderResult(tmp_path, "l", [rung(name, seconds) for name, seconds in times.items()])
    head, table = rows(result)
    place = head.index("seconds to ACC 89.1 %")
    assert [row[place] for row in table] == ["3.2", "3.0 (1 of 2)", "not reached", "–"]
    columns, cells = sheet(result)
    place = columns.index("seconds_to_acc")
    assert [row[place : place + 2] for row in cells] == [[3.25, 2], [3.0, 1], [None, 0], [None, 0]]
    known = record(result, [0, 1], None)
    assert known["time_to_acc"] == [0.891]
    assert [one["seconds_to_acc"] for one in known["rungs"]] == [3.25, 3.0, None, None]
    assert "seconds to ACC 89.1 %" in markdown(result, [0, 1], None)


def test_the_printed_table_is_whole_in_a_narrow_terminal(tmp_path, capsys, monkeypatch):
    from imcswav.results import tables

    summary = {"metrics": ["acc", "nmi", "ari", "knn"], "protocol": "p", **dict.fromkeys(REFERENCE)}
    summary |= {"acc": 0.31754, "nmi": 0.4, "ari": 0.5, "knn": 0.61234, "seconds": 12345.6, "cpu_seconds": 98765.4}
    summary |= {"time_to_acc": 0.891, "seconds_to_acc": 7654.3}
    runs = {seed: RunResult(tmp_path, summary) for seed in range(3)}
    names = ["a_baseline", "d_self_label"]
    rungs = [Rung(name, tmp_path, runs, "z", {}, Gain(0.05, 0.01, (0, 1, 2)), None) for name in names]
    monkeypatch.setattr(tables.out, "width", 80, raising=False)
    tables.ladder(LadderResult(tmp_path, "l", rungs))
    said = capsys.readouterr().out
    assert "…" not in said
    for text in (*names, "31.8 ± 0.0", "61.2 ± 0.0", "12345.6", "98765.4", "7654.3", "+5.0 ± 1.0", "yes"):
        assert said.count(text) == 2, text
