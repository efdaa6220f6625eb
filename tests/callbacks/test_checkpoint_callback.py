import time
from types import SimpleNamespace

import pytest
import torch
from test_trainer import StopAfter
from tiny import blobs, short_run

import imcswav
from imcswav import checkpoint
from imcswav.api import complete
from imcswav.build import build_run
from imcswav.callbacks.checkpoint import Checkpoint
from imcswav.callbacks.metrics import Metrics
from imcswav.data.array import ArrayData
from imcswav.recipe.files import load_recipe


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_every_few_epochs_and_at_the_end(every, epochs):
    saved = []
    callback = Checkpoint.create(every=every)
    trainer = SimpleNamespace(save=lambda: saved.append(trainer.epoch))
    for epoch in range(1, 6):
        trainer.epoch, trainer.ended = epoch, epoch == 5
        callback.end_epoch(trainer)
    assert saved == epochs


def test_every_few_minutes_with_a_log_line(monkeypatch):
    now, saved = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    trainer = SimpleNamespace(save=lambda: saved.append(now[0]), ended=False, epoch=1)
    callback = Checkpoint.create(every=2, every_minutes=1.5)
    callback.start(trainer)
    for now[0] in (150.0, 189.0, 190.0, 200.0, 281.0):
        callback.log(trainer, {"loss": 1.0})
    now[0], trainer.epoch = 300.0, 2
    callback.end_epoch(trainer)
    for now[0] in (389.0, 390.0):
        callback.log(trainer, {"loss": 1.0})
    now[0] = 700.0
    callback.log(trainer, {"eval/acc": 0.5, "finding/diverged": 1.0})  # weights may be no numbers then
    assert saved == [190.0, 281.0, 300.0, 390.0]
    now[0], trainer.ended = 900.0, True
    callback.log(trainer, {"loss": 1.0})  # the summary's scores
    assert saved[-1] == 390.0


def test_without_minutes_no_clock_counts():
    trainer = SimpleNamespace(save=None, ended=False)
    callback = Checkpoint.create()
    callback.start(trainer)
    callback._saved = -1e9
    callback.log(trainer, {"loss": 1.0})


def test_a_run_goes_on_from_within_an_epoch(tiny, tmp_path):
    """Saved by the clock at every log line, so the last two of three are within the last epoch."""
    short_run(tiny, tmp_path / "whole", **{"trainer.epochs": 3})
    short_run(tiny, tmp_path / "run", **{"trainer.epochs": 3, "callbacks.checkpoint.every_minutes": 1e-9})
    (tmp_path / "run" / "summary.json").unlink()
    folder = tmp_path / "run" / "checkpoints"
    assert [path.name for path in checkpoint.saved(folder)] == ["step-000000011.pt", "step-000000012.pt"]
    (folder / "step-000000012.pt").unlink()
    pixels, labels = blobs()
    imcswav.resume(tmp_path / "run", data=ArrayData.of(pixels, labels=labels))
    one, other = (checkpoint.load_latest(tmp_path / name / "checkpoints")["learner"] for name in ("whole", "run"))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_at_once_on_interruption():
    done = []
    checkpoints = SimpleNamespace(wait=lambda: done.append("written"))
    trainer = SimpleNamespace(save=lambda: done.append("saved"), checkpoints=checkpoints)
    Checkpoint.create(every=100).interrupt(trainer)
    assert done == ["saved", "written"]


def test_closing_waits_for_the_write():
    done = []
    Checkpoint.create().close(SimpleNamespace(checkpoints=SimpleNamespace(wait=lambda: done.append("written"))))
    assert done == ["written"]


def test_a_run_leaves_the_last_two(tiny, tmp_path):
    short_run(tiny, tmp_path / "run", **{"trainer.epochs": 3})
    names = [path.name for path in checkpoint.saved(tmp_path / "run" / "checkpoints")]
    assert names == ["step-000000008.pt", "step-000000012.pt"]


def test_ctrl_c_saves_though_another_callback_fails_at_it(tiny, tmp_path, monkeypatch):
    def fail(callback, trainer):
        raise RuntimeError("a tracker's server is gone")

    monkeypatch.setattr(Metrics, "interrupt", fail)
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "run")
    StopAfter(trainer, 3)
    with pytest.raises(RuntimeError, match="server is gone"):
        complete(trainer)
    assert checkpoint.load_latest(tmp_path / "run" / "checkpoints")["step"] == 3
