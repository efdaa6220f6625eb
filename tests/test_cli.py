"""The command line as a process: what it prints, how it exits, what it leaves alone."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from PIL import Image

from imcswav.cli import main

MISTAKES = """\
name = "broken"
clusters = 1

[data]
name = "digits"

[views]
name = "multicrop"
crops = [{ count = 2, size = 10, scale = [0.4, 1.0] }]

[backbone]
name = "small_resnet"
widht = [32]

[heads.prototypes]
name = "prototypes"

[[losses]]
name = "swaw"

[optimizer]
name = "adam"
lr = -1.0

[trainer]
epochs = "many"
"""


def imcswav(*words, cwd):
    command = [sys.executable, "-m", "imcswav", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def call(capsys, *words):
    """The command in this process: exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return left.value.code, printed.out, printed.err


@pytest.fixture
def recipe(tiny, tmp_path):
    tiny["trainer"]["max_steps"] = 3
    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(tiny))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, made by the process."""
    from conftest import TINY

    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.toml").write_text(tomli_w.dumps(TINY))
    done = imcswav("run", "tiny.toml", "--set", "trainer.max_steps=3", "--seed", "5", cwd=folder)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs" / "tiny").iterdir()
    return run, done


def test_help_loads_neither_torch_nor_timm(tmp_path):
    code = (
        "import sys\n"
        "from imcswav.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as left: code = left.code\n"
        "names = {'torch', 'timm', 'torchvision', 'sklearn', 'scipy', 'pydantic', 'numpy', 'matplotlib'}\n"
        "heavy = names & set(sys.modules)\n"
        "print('heavy', sorted(heavy), code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "heavy [] 0" in done.stdout
    commands = ("run", "resume", "reproduce", "check", "list", "show", "evaluate", "predict", "features", "compare")
    for command in commands:
        assert command in done.stdout


def test_the_import_test_can_fail():
    code = "import sys, imcswav.step; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True"


def test_run_leaves_a_complete_folder(finished):
    run, done = finished
    for name in (
        "recipe.toml", "environment.json", "metrics.jsonl", "checkpoints", "model/weights.safetensors",
        "model/config.json", "assignments.csv", "clusters.png", "confusion.png", "curves.png", "summary.json",
    ):  # fmt: skip
        assert (run / name).exists(), name
    summary = json.loads((run / "summary.json").read_text())
    assert {
        "acc", "nmi", "ari", "knn", "kmeans_acc", "clusters", "epochs", "seconds", "images_per_second", "seed",
        "bn_statistics",
    } <= summary.keys()  # fmt: skip
    assert summary["seed"] == 5
    assert "k-means on pixels" in done.stdout
    assert f"{summary['acc']:.4f}" in done.stdout
    with (run / "assignments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1797
    assert {row["cluster"] for row in rows} <= {"0", "1", "2"}


def test_the_resolved_recipe_runs_again(finished, tmp_path, capsys):
    run, _ = finished
    code, _, _ = call(capsys, "run", run / "recipe.toml", "--out", tmp_path / "again")
    assert code == 0
    assert (tmp_path / "again" / "assignments.csv").read_text() == (run / "assignments.csv").read_text()
    assert (tmp_path / "again" / "recipe.toml").read_text() == (run / "recipe.toml").read_text()


def test_shipped_recipe_runs_in_an_empty_folder(tmp_path):
    done = imcswav("run", "digits", "--set", "trainer.max_steps=2", "--set", "trainer.threads=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs" / "digits").iterdir())) == 1


def test_ctrl_c_saves_and_resume_goes_on(recipe, tmp_path):
    command = [sys.executable, "-m", "imcswav", "run", recipe, "--set", "trainer.max_steps=null"]
    command += ["--set", "trainer.epochs=400", "--out", "stopped"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    checkpoints = tmp_path / "stopped" / "checkpoints"
    deadline = time.monotonic() + 120
    while not any(checkpoints.glob("step-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    saved = sorted(checkpoints.glob("step-*.pt"))
    assert saved
    toml = tmp_path / "stopped" / "recipe.toml"
    toml.write_text(toml.read_text().replace("epochs = 400", "epochs = 1"))  # not 400 epochs in a test
    done = imcswav("resume", "stopped", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "finished before" not in done.stdout
    assert (tmp_path / "stopped" / "summary.json").is_file()
    again = imcswav("resume", "stopped", cwd=tmp_path)
    assert again.returncode == 0
    assert "finished before" in again.stdout


def test_run_resume_finds_the_latest_unfinished_run(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "run", recipe, "--resume")[0] == 2
    assert call(capsys, "run", recipe)[0] == 0
    (run,) = (tmp_path / "runs" / "tiny").iterdir()
    (run / "summary.json").unlink()
    code, out, _ = call(capsys, "run", recipe, "--resume")
    assert code == 0
    assert str(run.relative_to(tmp_path)) in out
    assert (run / "summary.json").is_file()


def test_seeds_reproduce_and_compare(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "run", recipe, "--seeds", "0-1", "--out", "seeds")
    assert code == 0, err
    assert re.search(r"ACC \d+\.\d ± \d+\.\d \(n = 2\)", out)
    assert "sample standard deviation" in out
    assert "Seed 1 (2 of 2)" in err
    code, out, _ = call(capsys, "resume", "seeds")
    assert code == 0
    assert "(n = 2)" in out
    words = ("reproduce", recipe, "--resume", "--out", "seeds", "--seeds", "0-1", "--set")
    code, out, err = call(capsys, *words, "expected.acc=0.01")
    assert (code, "Reproduced." in out, "pass (above)" in out) == (0, True, True), err
    code, out, _ = call(capsys, *words, "expected.acc=0.999")
    assert code == 3
    assert "Not reproduced." in out
    assert "max(tolerance, 3 · std · sqrt(1 / runs + 1 / n))" in " ".join(out.split())
    code, out, _ = call(capsys, "compare", "seeds", "--plot", "curves.png", "--json", "all.json")
    assert code == 0
    for text in ("seed", "1 and 2", "1,797", "Written: curves.png", "Written: all.json"):
        assert text in out
    assert call(capsys, "compare", "seeds", "--plot", "curves.png")[0] == 2


def test_features(finished, tmp_path, capsys):
    run, _ = finished
    Image.fromarray(np.zeros((20, 30), dtype=np.uint8)).save(tmp_path / "a.png")
    words = ("features", run, tmp_path / "a.png", "--out", tmp_path / "f.npz")
    code, out, _ = call(capsys, *words)
    assert code == 0
    assert "1 features written" in out
    assert np.load(tmp_path / "f.npz")["features"].shape == (1, 8)
    assert call(capsys, *words)[0] == 2


def test_five_mistakes_are_named_at_once(tmp_path):
    (tmp_path / "broken.toml").write_text(MISTAKES)
    done = imcswav("check", "broken.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "5 problems" in done.stderr
    lines = MISTAKES.splitlines()
    for path, remedy, text in (
        ("clusters", "at least 2", "clusters = 1"),
        ("backbone.widht", "Did you mean 'widths'?", "widht = [32]"),
        ("losses.0.name", "Did you mean 'swav'?", 'name = "swaw"'),
        ("optimizer.lr", "greater than 0", "lr = -1.0"),
        ("trainer.epochs", "a whole number", 'epochs = "many"'),
    ):
        place = f"broken.toml:{lines.index(text) + 1}: {path}: "
        (line,) = [line for line in done.stderr.splitlines() if place in line]
        assert remedy in line


def test_problems_between_parts_have_lines_too(recipe, capsys):
    changes = [
        "losses.0.scores=prototype", "clusters=5000", "trainer.batch_size=4000", "heads.projection.input=nowhere",
    ]  # fmt: skip
    code, _, err = call(capsys, "check", recipe, *(word for change in changes for word in ("--set", change)))
    assert code == 2
    for text in ("Did you mean 'prototypes'?", "5000 clusters are more", "a batch of 4000", "no head 'nowhere'"):
        assert text in err
    assert err.count("--set: ") == 4


def test_missing_data_hides_no_other_problem(capsys):
    words = ("--set", "data.root=missing", "--set", "losses.0.scores=prototype", "--set", "optimizer.lr=1e-3")
    code, _, err = call(capsys, "check", "folder", *words)
    assert code == 2
    assert "2 problems" in err
    assert "does not exist" in err
    assert "Did you mean 'prototypes'?" in err


def test_means_that_do_not_fit_the_channels_are_found_before_building(recipe, capsys):
    code, _, err = call(capsys, "check", recipe, "--set", "views.mean=[0.5, 0.5, 0.5]")
    assert code == 2
    assert "views.mean: has 3 values, but the images have 1 channels." in err


def test_check_tells_the_costs(recipe, capsys):
    code, out, _ = call(capsys, "check", recipe)
    assert code == 0
    for text in ("trainable parameters", "operations an image", "steps", "memory"):
        assert text in out


def test_a_crop_too_small_for_its_backbone_is_found_before_building(tmp_path, capsys):
    change = "views.crops=[{count=2,size=28,scale=[0.2,1.0]},{count=1,size=2,scale=[0.1,0.2]}]"
    words = ("--set", change, "--set", "backbone.model=vgg11", "--set", "backbone.stem=imagenet")
    code, _, err = call(capsys, "check", "imc_swav_cifar10", *words, "--set", "backbone.arguments=null")
    assert code == 2
    assert "vgg11 can't take images of 2 × 2 or 28 × 28 px, the smallest size that fits is 32" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "no_such_recipe"), "no_such_recipe"),
        (("run", "digits", "--device", "abacus"), "Device 'abacus'"),
        (("run", "digits", "--set", "clusters"), "path=value"),
        (("run", "folder", "--set", "data.root=EMPTY"), "no images"),
        (("run", "folder", "--set", "data.root=missing"), "does not exist"),
        (("run", "folder", "--set", "data.root=ONE"), "2 images"),
        (("run", "digits", "--set", "trainer.epochs=nan"), "finite number"),
        (("run", "digits", "--set", "optimizer.lr=nan"), "finite number"),
        (("run", "digits", "--out", "FULL"), "nothing is overwritten"),
        (("run", "digits", "--out", "FILE/run"), "can't be written"),
        (("resume", "EMPTY"), "no run folder"),
        (("resume", "missing"), "no run folder"),
        (("evaluate", "EMPTY"), "no run folder"),
        (("predict", "EMPTY", "ONE"), "no readable model"),
        (("show", "loss", "swaw"), "Did you mean 'swav'?"),
        (("show", "los", "swav"), "Did you mean 'loss'?"),
        (("list", "los"), "Did you mean 'loss'?"),
        (("run", "digits", "--seeds", "few"), "--seeds: seeds are written like"),
        (("run", "digits", "--seeds", "0-1", "--seed", "3"), "can't go together"),
        (("run", "digits", "--seeds", "0-1", "--out", "FULL"), "nothing is overwritten"),
        (("run", "digits", "--seeds", "0-1", "--resume"), "no series of seeds"),
        (("reproduce", "folder_small", "--set", "data.root=ONE"), "nothing to compare with"),
        (("compare", "EMPTY", "ONE"), "no run folder"),
        (("features", "EMPTY", "ONE"), "no readable model"),
        (("run",), "Missing argument"),
        (("fly",), "No such command"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_2(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("EMPTY", "ONE", "FULL"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "ONE" / "a.png")
    (tmp_path / "FULL" / "mine.txt").write_text("keep me")
    (tmp_path / "FILE").write_text("keep me")
    before = sorted(tmp_path.rglob("*"))
    code, _, err = call(capsys, *words)
    assert code == 2, err
    assert said in err
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_shows_the_traceback(capsys):
    code, _, err = call(capsys, "run", "no_such_recipe", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_a_defect_of_ours_exits_1(capsys, monkeypatch):
    monkeypatch.setattr("imcswav.recipe.files.load_recipe", lambda *_: 1 / 0)
    code, _, err = call(capsys, "check", "digits")
    assert code == 1
    assert "ZeroDivisionError" in err
    assert "--debug" in err


def test_version(capsys):
    from imcswav import __version__

    assert call(capsys, "--version")[:2] == (0, f"imcswav {__version__}\n")


def test_list_and_show(capsys):
    code, out, _ = call(capsys, "list", "loss")
    assert code == 0
    assert "swav" in out
    assert "sinkhorn" not in out
    code, out, _ = call(capsys, "show", "solver", "sinkhorn")
    assert code == 0
    for text in ("epsilon", "0.05", "> 0", "1306.0895", "imcswav"):
        assert text in out


def test_list_filters_names_and_what_settings_choose_from(capsys):
    code, out, _ = call(capsys, "list", "backbone", "--filter", "convnext_a*")
    assert code == 0
    assert "backbone timm, model:" in out
    assert "convnext_atto" in out.split()
    assert "small_resnet" not in out
    code, out, _ = call(capsys, "list", "solver", "--filter", "sink*")
    assert (code, "sinkhorn" in out, "uniform" in out) == (0, True, False)
    assert call(capsys, "list", "recipe", "--filter", "*_vit")[1].split() == ["imc_swav_cifar10_vit"]
    code, _, err = call(capsys, "list", "loss", "--filter", "vit*")
    assert code == 2
    assert "No loss is called like 'vit*'" in err


def test_show_knows_the_tables_that_no_component_owns(capsys):
    assert "clip_gradient" in call(capsys, "show", "trainer")[1]
    assert "bn_statistics" in call(capsys, "show", "predict")[1]
    code, out, _ = call(capsys, "show", "views", "multicrop")
    assert code == 0
    assert "each Crop" in out
    assert "scale" in out
    assert "swav" in call(capsys, "show", "loss")[1]
    assert "imc_swav_cifar10" in call(capsys, "list", "recipe")[1].split()


def test_predict_lists_what_it_cannot_read(finished, tmp_path, capsys):
    run, _ = finished
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(photos / "grey.png")
    Image.fromarray(rng.integers(0, 256, (20, 30, 4), dtype=np.uint8)).save(photos / "rgba.png")
    Image.fromarray(rng.integers(0, 65536, (20, 30), dtype=np.uint16)).save(photos / "sixteen.png")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff not really")
    texts = []
    for name in ("one.csv", "two.csv"):
        code, out, err = call(capsys, "predict", run, photos, "--out", tmp_path / name)
        assert code == 0
        assert "3 images assigned" in out
        assert "broken.jpg" in err
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    names = {Path(row.split(",")[0]).name for row in texts[0].splitlines()[1:]}
    assert names == {"grey.png", "rgba.png", "sixteen.png"}
    assert "broken.jpg" in (tmp_path / "one.skipped.csv").read_text()
    code, _, err = call(capsys, "predict", run, photos, "--out", tmp_path / "one.csv")
    assert code == 2
    assert "not overwritten" in err


def test_evaluate_gives_the_summarys_figures(finished, capsys):
    run, _ = finished
    code, out, _ = call(capsys, "evaluate", run)
    assert code == 0
    summary = json.loads((run / "summary.json").read_text())
    for name in ("acc", "nmi", "ari", "knn", "kmeans_acc"):
        assert f"{summary[name]:.4f}" in out


def test_a_warning_is_its_sentence_alone(tiny, tmp_path, monkeypatch):
    for number in range(12):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(np.full((12, 12), 20 * number, np.uint8)).save(tmp_path / "images" / f"{number}.png")
    tiny["data"] = {"name": "image_folder", "root": "images", "size": 12, "channels": 1, "placement": "stream"}
    tiny["trainer"] |= {"max_steps": 1, "batch_size": 4}
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(tiny))
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "file" / "cache"))
    done = imcswav("run", "tiny.toml", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "can't be kept" in line]
    assert line.startswith("Warning: Decoded images can't be kept in ")
    assert ".py" not in done.stderr
