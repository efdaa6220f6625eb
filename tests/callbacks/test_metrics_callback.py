import json
from types import SimpleNamespace

import pytest
from tiny import short_run

import imcswav
from imcswav.callbacks.metrics import Metrics
from imcswav.runs import RunFolder


def trainer(folder, step):
    counts = {"step": step, "epoch": 1, "steps": 100, "steps_per_epoch": 25}
    return SimpleNamespace(run=RunFolder(folder), ended=False, seconds=2.0004, **counts)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("tail", ["", '{"step": 40, "lo', "\0\0\0\0", '{"step": 40, "loss": 1.0}\n{"st'])
def test_rows_after_the_checkpoint_are_dropped_on_resuming(tmp_path, tail):
    metrics = Metrics.create()
    for step in (10, 20, 30):
        metrics.log(trainer(tmp_path, step), {"loss": step / 10})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(tail)
    metrics.start(trainer(tmp_path, 20))
    assert [row["step"] for row in lines(tmp_path)] == [10, 20]
    metrics.log(trainer(tmp_path, 30), {"loss": 0.5})
    assert lines(tmp_path)[-1] == {"step": 30, "epoch": 1, "seconds": 2.0, "loss": 0.5}


def test_a_new_run_has_nothing_to_drop(tmp_path):
    Metrics.create().start(trainer(tmp_path, 0))
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_run_logs_losses_and_scores(tiny, tmp_path):
    short_run(tiny, tmp_path / "run", **{"callbacks.evaluate.every": 1})
    rows = lines(tmp_path / "run")
    losses = [row for row in rows if "loss" in row]
    assert [row["step"] for row in losses] == list(range(1, 9))
    assert all({"loss/swav", "loss/imc", "lr", "seconds", "epoch"} <= set(row) for row in losses)
    assert [(row["step"], row["epoch"]) for row in rows if "eval/acc" in row] == [(4, 1), (8, 2)]
    assert imcswav.resume(tmp_path / "run").summary["steps"] == 8


def test_the_end_of_an_epoch_that_comes_again_is_logged_once(tmp_path):
    """The checkpoint is of the epoch's last step; what follows it, health and scores, is computed again."""
    metrics = Metrics.create()
    rows = [{"loss": 1.0}, {"finding/weights_grow": 1.0}, {"health/churn": 0.5}, {"finding/one_cluster": 1.0}]
    for values in [*rows, {"eval/acc": 0.5}]:
        metrics.log(trainer(tmp_path, 50), values)
    metrics.start(trainer(tmp_path, 50))
    assert [list(row)[3:] for row in lines(tmp_path)] == [["loss"], ["finding/weights_grow"]]
    metrics.log(trainer(tmp_path, 51), {"loss": 1.0})
    metrics.start(trainer(tmp_path, 51))
    assert len(lines(tmp_path)) == 3
