from types import SimpleNamespace

import pytest

from imcswav.callbacks.tensorboard import TensorBoard
from imcswav.runs import RunFolder


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def log(folder, start, steps, **values):
    callback = TensorBoard.create()
    trainer = SimpleNamespace(run=RunFolder(folder), step=start)
    callback.start(trainer)
    for step in steps:
        trainer.step = step
        callback.log(trainer, values)
    callback.close(trainer)


def test_logs_every_number_and_purges_what_a_resumed_run_repeats(tmp_path):
    log(tmp_path, 0, (10, 20, 30), loss=1.0)
    log(tmp_path, 20, (30,), loss=2.0, **{"eval/acc": 0.5})
    found = scalars(tmp_path)
    assert found["loss"] == [(10, 1.0), (20, 1.0), (30, 2.0)]
    assert found["eval/acc"] == [(30, pytest.approx(0.5))]


def test_closing_before_the_start_is_harmless():
    TensorBoard.create().close(SimpleNamespace())
