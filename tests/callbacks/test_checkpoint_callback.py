from types import SimpleNamespace

import pytest
from tiny import short_run

from imcswav import checkpoint
from imcswav.callbacks.checkpoint import Checkpoint


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_every_few_epochs_and_at_the_end(every, epochs):
    saved = []
    callback = Checkpoint.create(every=every)
    trainer = SimpleNamespace(save=lambda: saved.append(trainer.epoch))
    for epoch in range(1, 6):
        trainer.epoch, trainer.ended = epoch, epoch == 5
        callback.end_epoch(trainer)
    assert saved == epochs


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
