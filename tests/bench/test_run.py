"""``imcswav bench`` from the command line: tables, files, exit codes."""

import json

import pytest
import tomli_w
from bench_case import COLOUR, CPU, data, pixels, recipe
from PIL import Image
from tiny import png_size

from imcswav.bench import suite as suite_module
from imcswav.bench.against import Contest, alternate
from imcswav.bench.clock import Clock
from imcswav.bench.parts import reason
from imcswav.bench.suite import growth, variants, with_images
from imcswav.bench.wall import from_images
from imcswav.cli import main
from imcswav.errors import RunError
from imcswav.losses.imc import IMC


@pytest.fixture
def recipe_file(tiny, tmp_path):
    """A recipe over a folder of colour images."""
    for number, image in enumerate(pixels(20)):
        (tmp_path / "images" / "train" / "a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "images" / "train" / "a" / f"{number}.png")
    tiny |= COLOUR | {"data": {"name": "image_folder", "root": str(tmp_path / "images"), "size": 12}}
    tiny["name"] = "imc-swav-cifar10"  # the one that has goals
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(tiny))
    return tmp_path / "recipe.toml"


def call(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return left.value.code, printed.out, printed.err


def test_everything_in_one_command(recipe_file, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ways = [("eager", {"trainer.compile": False}), ("impossible", {"trainer.cuda_graph": True})]
    monkeypatch.setattr(suite_module, "variants", lambda recipe, device: ways)
    options = (
        "--against",
        "loop",
        "--rounds",
        "2",
        "--suite",
        "--json",
        "b.json",
        "--markdown",
        "b.md",
        "--plot",
        "b.png",
    )
    code, out, err = call(capsys, "bench", recipe_file, *options)
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "b.json").read_text())
    step = found["step"]
    assert step["seconds"] > 0
    assert step["waits"] == 0
    assert step["counts"]["launched"] < step["counts"]["operations"]
    assert list(step["phases"]) == ["augmentation", "encoder forward", "heads and losses", "backward", "optimiser"]
    assert all(seconds > 0 for seconds in step["phases"].values())
    ratios = {row["name"]: row for row in found["against"]["ratios"]}
    assert [len(row["ratios"]) for row in ratios.values()] == [2] * 4
    assert ratios["augmentation"]["goal"] == 9
    assert len(found["against"]["counted"]) == 3
    assert all(row["equal"] for row in found["against"]["differences"])
    eager, impossible = found["suite"]["variants"]
    assert eager["memory"] > 0
    assert "trainer.cuda_graph needs a CUDA device" in impossible["failed"]
    assert set(found["suite"]["growth"]) == {"batch", "images", "prototypes", "views"}
    assert all("seconds" in point for points in found["suite"]["growth"].values() for point in points)
    assert all(row["seconds"] > 0 for row in found["suite"]["evaluation"])
    assert 0 < sum(row["share"] for row in found["suite"]["profile"]) <= 1
    tables = (tmp_path / "b.md").read_text()
    waits = "host synchronisations in a step, by its operators | 0"
    for words in (waits, "≥ 9×", "Growth with prototypes", "impossible | –"):
        assert words in tables
    assert "mutual information" in out
    assert png_size(tmp_path / "b.png")[0] > 4 * 300
    assert not list(tmp_path.glob("runs*"))
    code, _, err = call(capsys, "bench", recipe_file, *options)
    assert (code, err) == (2, "b.json exists and is not overwritten; give another name.\n")


def test_a_recipe_that_is_no_imc_swav_is_measured_alone(tiny, tmp_path, capsys):
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(tiny))
    code, out, _ = call(capsys, "bench", tmp_path / "recipe.toml", "--batch", "16")
    assert code == 0
    assert "a step of 16 images on cpu, fp32" in out
    code, _, err = call(capsys, "bench", tmp_path / "recipe.toml", "--against", "loop")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "the views are not 'multicrop' of colour images" in err


def test_a_step_that_is_not_the_loop_s_fails_after_writing_its_figures(recipe_file, capsys, monkeypatch, tmp_path):
    right = IMC.forward
    monkeypatch.setattr(IMC, "forward", lambda self, step: right(self, step) * 1.01)
    options = ("--against", "loop", "--rounds", "1", "--json", tmp_path / "b.json")
    code, out, err = call(capsys, "bench", recipe_file, *options)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "loss imc differs by 0.01" in err
    assert "NO" in out
    assert not all(row["equal"] for row in json.loads((tmp_path / "b.json").read_text())["against"]["differences"])


def test_without_a_compiler_compiling_is_refused(recipe_file, capsys, monkeypatch):
    def broken(images, seed):
        raise RuntimeError("no compiler\nand a long trace")

    monkeypatch.setattr("torch.compile", lambda function, **options: broken)
    code, _, err = call(capsys, "bench", recipe_file, "--against", "loop", "--compile", "--rounds", "1")
    assert code == 2
    assert err == "torch.compile can't compile the crops here (no compiler); leave out --compile.\n"


def test_crops_and_losses_are_compared_compiled_too(recipe_file, capsys, monkeypatch, tmp_path):
    compiled, calls = [], []

    def compile(part, **options):
        compiled.append(part)
        return lambda *given: calls.append(part.name) or part(*given)

    monkeypatch.setattr("torch.compile", compile)
    options = ("--against", "loop", "--compile", "--rounds", "1", "--json", tmp_path / "b.json")
    assert call(capsys, "bench", recipe_file, *options)[0] == 0
    assert [part.name for part in compiled] == ["multicrop", "swav", "imc"]
    names = [row["name"] for row in json.loads((tmp_path / "b.json").read_text())["against"]["ratios"]]
    asked = ["augmentation", "swapped prediction", "mutual information"]
    assert [name for name in names if name.endswith(", compiled")] == [f"{name}, compiled" for name in asked]
    assert all(calls.count(part.name) > 3 for part in compiled)  # once to try, then in two rounds
    monkeypatch.setattr(IMC, "compilable", lambda self: False)
    compiled.clear()
    assert call(capsys, "bench", recipe_file, *options[:-1], tmp_path / "c.json")[0] == 0
    assert [part.name for part in compiled] == ["multicrop", "swav"]  # training wouldn't compile it


def test_a_recipe_that_trains_nothing_has_no_step(tiny, tmp_path, capsys):
    frozen = {key: tiny[key] for key in ("name", "clusters", "data", "backbone")} | {
        "learner": {"name": "frozen"}, "clusterer": {"name": "kmeans"}, "trainer": {"epochs": 0, "device": "cpu"},
    }  # fmt: skip
    (tmp_path / "frozen.toml").write_text(tomli_w.dumps(frozen))
    code, _, told = call(capsys, "bench", tmp_path / "frozen.toml")
    assert (code, told) == (2, "tiny trains nothing, so it has no step to measure; take a recipe that does.\n")


def test_an_unknown_opponent(recipe_file, capsys):
    code, _, err = call(capsys, "bench", recipe_file, "--against", "lop")
    assert code == 2
    assert err == "There is no 'lop' to measure against; the only choice is --against loop.\n"


def test_rounds_alternate_and_the_median_counts():
    calls, ours, theirs = [], iter([9.0, 1.0, 2.0, 4.0]), iter([9.0, 4.0, 4.0, 4.0])
    contest = Contest(
        "race", "lap", lambda: calls.append("o") or next(ours), lambda: calls.append("l") or next(theirs), goal=2.5
    )
    (row,) = alternate([contest], rounds=3)
    assert "".join(calls) == "loollool"
    assert row["ratios"] == [4.0, 2.0, 1.0]  # the first round is thrown away
    assert (row["ratio"], row["ours"], row["loop"], row["met"]) == (2.0, 2.0, 4.0, False)


def test_steps_with_workers_on_the_wall_clock(tiny):
    contest = from_images(recipe(tiny), data(), CPU, workers=0, batches=2)
    (row,) = alternate([contest], rounds=1)
    assert row["ours"] > 0
    assert row["loop"] > 0


def test_variants_name_what_they_change(tiny):
    names = [name for name, _ in variants(recipe(tiny), CPU)]
    assert len(names) == len(set(names)) == 6
    assert "bf16, pooled, compiled" in names


def test_growth_keeps_to_what_the_data_can_give(tiny):
    points = growth(recipe(tiny), data())
    assert [value for value, _, _ in points["batch"]] == [2, 4, 8, 16]
    assert [(value, len(source.train)) for value, _, source in points["images"]] == [(24, 24), (96, 96)]
    assert [value for value, _, _ in points["views"]] == [3, 4, 6]
    more = with_images(data(), 30).train
    assert len(more.names) == len(more.images) == 30
    assert (more.images[24:] == more.images[:6]).all()


def test_reasons_are_one_sentence():
    assert reason(ValueError("first\nsecond")) == "ValueError: first"
    assert reason(RuntimeError()) == "RuntimeError: "
    assert reason(RunError("no run.")) == "RunError: no run."


def test_the_clock_of_a_cpu_counts_work_not_waiting():
    import time

    assert Clock(CPU).seconds(lambda: time.sleep(0.05)) < 0.02
    assert Clock(CPU).seconds(lambda: sum(range(300_000)), repeats=2) > 0.0005


def test_a_batch_of_more_than_all_images_is_refused(recipe_file, capsys):
    code, _, err = call(capsys, "bench", recipe_file, "--batch", "5000")
    assert code == 2
    assert "a batch of 5000 is more than the 20 training images" in err


def test_other_recipes_have_no_goals(recipe_file, capsys, tmp_path):
    options = ("--against", "loop", "--rounds", "1", "--set", "name=mine", "--json", tmp_path / "mine.json")
    assert call(capsys, "bench", recipe_file, *options)[0] == 0
    against = json.loads((tmp_path / "mine.json").read_text())["against"]
    assert {row["goal"] for row in (*against["ratios"], *against["counted"])} == {None}
