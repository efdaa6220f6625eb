"""Whole runs: resumed, blind to labels, saved, and by the command; the library names no part of this package."""

import copy
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from imcswav_depict.__main__ import initial_clusters, main, measured, start, table
from small import RECIPE

import imcswav
from imcswav import checkpoint
from imcswav.build import build_run
from imcswav.cli import main as command_line
from imcswav.data.array import ArrayData
from imcswav.errors import ImcswavError, RunError
from imcswav.recipe.files import load_recipe
from imcswav.runs import RunFolder

STEPS = 1797 // 256


def recipe(**settings):
    tables = copy.deepcopy(RECIPE)
    tables["learner"] |= settings
    return tables


def weights(run):
    return checkpoint.load_latest(Path(run) / "checkpoints")["learner"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return imcswav.run(recipe(), out=tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.parametrize(
    "stop",
    [STEPS + 3, 2 * STEPS, 2 * STEPS + 2, 4 * STEPS + 4, 5 * STEPS],
    ids=["pre-training", "its end", "warm", "first targets", "between epochs"],
)
def test_a_resumed_run_is_bit_identical(whole, tmp_path, stop):
    trainer, _ = build_run(load_recipe(recipe()), out=tmp_path / "run")

    def after_step(progress):
        if progress.step + 1 == stop:
            signal.raise_signal(signal.SIGINT)

    trainer.learner.after_step = after_step
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.step == stop
    imcswav.resume(tmp_path / "run")
    assert_same(weights(whole.path), weights(tmp_path / "run"))


def test_a_run_with_patience_resumes_alike(tmp_path):
    changes = {"patience": 1, "pretrain_epochs": 4}
    imcswav.run(recipe(**changes), {"optimizer.lr": 0.3}, out=tmp_path / "whole")  # so high that the error soon rises
    trainer, _ = build_run(load_recipe(recipe(**changes), {"optimizer.lr": 0.3}), out=tmp_path / "run")

    def after_step(progress):
        if progress.step + 1 == STEPS + 3:
            signal.raise_signal(signal.SIGINT)

    trainer.learner.after_step = after_step
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    imcswav.resume(tmp_path / "run")
    state = weights(tmp_path / "whole")
    assert_same(state, weights(tmp_path / "run"))
    assert state["stages.held"].sum() == 180
    assert 1 < state["stages.began"] <= 4


def test_labels_of_the_data_change_nothing(whole, tmp_path):
    split = load_recipe(recipe()).data.build().train
    for name, truth in {"true": split.labels, "shuffled": split.labels.roll(1), "none": None}.items():
        imcswav.run(recipe(), out=tmp_path / name, data=ArrayData.of(split.images.numpy(), labels=truth))
    for name in ("shuffled", "none"):
        assert_same(weights(tmp_path / "true"), weights(tmp_path / name))
    assert_same(weights(tmp_path / "true"), weights(whole.path))


def test_a_finished_run_leaves_what_every_run_does(whole):
    there = {path.name for path in whole.path.iterdir()}
    assert there >= {"summary.json", "assignments.csv", "metrics.jsonl", "checkpoints", "model", "clusters.png"}
    assert 0 < whole.summary["acc"] <= 1
    model, split = imcswav.load(whole.path), load_recipe(recipe()).data.build().train
    assert not any("stages" in name for name in model.packed()[0])  # what only training needs
    rows = (whole.path / "assignments.csv").read_text().splitlines()[1:]
    assert model.predict(split.images[:50]).tolist() == [int(row.split(",")[2]) for row in rows[:50]]
    assert model.transform(split.images[:5]).shape == (5, 3)


def test_a_report_shows_its_clusters(whole, tmp_path):
    with pytest.raises(SystemExit) as ended:
        command_line(["report", str(whole.path), "--out", str(tmp_path / "report.html"), "--device", "cpu"])
    assert not ended.value.code
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    rows = (whole.path / "assignments.csv").read_text().splitlines()[1:]
    sizes = np.bincount([int(row.split(",")[2]) for row in rows], minlength=3)
    assert f"{sizes.min():,} – {sizes.max():,}, median" in page
    assert f"ACC {whole.summary['acc']:.3f}" in page


def test_a_run_too_short_to_cluster_ends_all_the_same(tmp_path):
    with pytest.warns(UserWarning, match="before the pre-training does"):
        imcswav.run(recipe(), {"trainer.max_steps": 2}, out=tmp_path / "short")
    with pytest.raises(RunError, match="train it for longer"):
        measured(RunFolder.open(tmp_path / "short"))


def test_the_table_compares_with_the_clusters_it_began_with(whole):
    run = RunFolder.open(whole.path)
    initial_N, began = initial_clusters(run)
    assert began == 2
    assert initial_N.tolist() == weights(whole.path)["stages.initial"].tolist()
    row, labels_N = measured(run), load_recipe(recipe()).data.build().train.labels.numpy()
    best = max(  # three clusters, each with a class of its own
        sum(np.sum((initial_N == k) & (labels_N == label)) for k, label in enumerate((a, b, c)))
        for a in range(10) for b in range(10) for c in range(10) if len({a, b, c}) == 3
    )  # fmt: skip
    assert row.initial == pytest.approx(best / 1797)
    assert row.final == pytest.approx(whole.summary["acc"])
    lines = table([row, row._replace(seed=1, initial=row.final, final=row.final - 0.1)])
    assert lines[2].startswith(f"| 0 | {100 * row.pixels:.1f} | {100 * row.initial:.1f} | {100 * row.final:.1f} |")
    assert "better in 1 of 2" in lines[-1] or row.final <= row.initial


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(tomli_w.dumps(recipe()))
    main("small.toml", seeds="3", set_=["trainer.epochs=4"])
    said = capsys.readouterr().out
    assert re.search(r"^\| 3 \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [+-][\d.]+ \| 2 \| \d+ \|$", said, re.MULTILINE)
    with pytest.raises(ImcswavError, match="seeds are written like"):
        main("small.toml", seeds="x")
    monkeypatch.setattr(sys, "argv", ["imcswav_depict", "nothing.toml"])
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == 2


def test_the_library_names_no_part_of_this_package():
    files = [path for path in Path(imcswav.__file__).parent.rglob("*.py") if "results" not in path.parts]
    assert len(files) > 100
    assert not [path for path in files if re.search("depict", path.read_text(encoding="utf-8"), re.IGNORECASE)]
