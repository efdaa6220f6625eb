"""Commands that train, and those that use a run: what they print, and what they leave."""

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
from cli_calls import call, imcswav, write_recipe
from PIL import Image

DRAWN = ("--set", "evaluation.plots=true")


@pytest.fixture
def recipe(tiny, tmp_path):
    return write_recipe(tiny, tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, made by the process."""
    from conftest import TINY

    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.toml").write_text(tomli_w.dumps(TINY))
    done = imcswav("run", "tiny.toml", "--set", "trainer.max_steps=3", *DRAWN, "--seed", "5", cwd=folder)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs" / "tiny").iterdir()
    return run, done


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
    assert "1 image embedded" in out
    assert np.load(tmp_path / "f.npz")["features"].shape == (1, 8)
    assert call(capsys, *words)[0] == 2


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


def test_a_run_is_scored_again_on_images_that_moved(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(24):
        folder = Path("photos", "ab"[number % 2])
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 12), number % 2 * 200).save(folder / f"{number}.png")
    tiny |= {"data": {"name": "image_folder", "root": "photos"}, "clusters": 2}
    tiny["trainer"] |= {"epochs": 1, "batch_size": 8}
    write_recipe(tiny, tmp_path)
    assert call(capsys, "run", "tiny.toml", "--out", "run")[0] == 0
    Path("photos").rename("moved")
    code, _, err = call(capsys, "evaluate", "run")
    assert (code, "set data.root to an existing folder" in err) == (2, True)
    code, out, _ = call(capsys, "evaluate", "run", "--set", "data.root=moved")
    assert code == 0
    assert f"{json.loads(Path('run/summary.json').read_text())['acc']:.4f}" in out
    code, _, err = call(capsys, "evaluate", "run", "--set", "data.root=moved", "--set", "data.size=8")
    assert (code, "trained on images with size = 12, and these have 8" in err) == (2, True)
    code, _, err = call(capsys, "run", "tiny.toml", "--seed", "-1")
    assert (code, "--set" in err, "seed: must be at least 0" in err) == (2, False, True)
    code, _, err = call(capsys, "evaluate", "run", "--set", "clusters=3")
    assert (code, "clusters can't be changed for a run that is finished" in err) == (2, True)
    code, _, err = call(
        capsys, "evaluate", "run", "--set", "data.root=moved", "--set", "evaluation.train_on=train+test"
    )
    assert (code, 'The run was trained with evaluation.train_on = "train", and' in err) == (2, True)
