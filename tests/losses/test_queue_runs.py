"""SwAV as published in whole trainings, queue from an epoch on and LARS: recorded, resumed, without host waits."""

import pytest
import torch
from test_engine import Replayer, frozen_heads
from test_trainer import StopAfter, assert_same, weights
from tiny import images, learner
from torch.utils._python_dispatch import TorchDispatchMode

import imcswav
from imcswav.build import build_run
from imcswav.data import Batch
from imcswav.engine import Engine
from imcswav.optimizers.lars import LARS
from imcswav.recipe import TrainerSettings
from imcswav.recipe.files import load_recipe
from imcswav.schedules.cosine import Cosine
from imcswav.step import Progress

WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "lift_fresh"}


class Watch(TorchDispatchMode):
    """Names of all operations."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def engine(recorder=None) -> Engine:
    one = learner(heads=frozen_heads(7), losses=[{"name": "swav", "queue": 16, "queue_start": 1}, {"name": "imc"}])
    return Engine(
        learner=one.train(),
        optimizer=LARS.create(lr=4.8, weight_decay=1e-6).make(one.trainable()),
        schedule=Cosine.create(warmup_steps=4, warmup_start=0.1),
        settings=TrainerSettings(),
        device=torch.device("cpu"),
        seed=5,
        recorder=recorder,
    )


def test_replayed_steps_equal_eager_ones_while_the_queue_begins_and_fills() -> None:
    """Ten steps an epoch: none queued, two that fill it from step 10 on; the prototypes are free from step 7 on."""

    def train(one) -> list[float]:
        return [
            one.step(Batch(images(8).roll(n, 0), torch.arange(8)), Progress(n, n // 10, 20, 10))["loss"].item()
            for n in range(20)
        ]

    recorder = Replayer()
    plain, replayed = engine(), engine(recorder)
    losses = train(plain)
    assert losses == train(replayed)
    assert replayed.notes == []
    # frozen prototypes and the full queue are recorded after three eager steps; the phases between end before that
    assert (len(recorder.recorded), recorder.eager) == (2, 3 + 3 + 2 + 3)
    assert int(plain.learner.losses[0].queue.pushed) == 80
    assert_same(plain.learner.state_dict(), replayed.learner.state_dict())


@pytest.mark.parametrize("stop", [5, 8, 17])  # before the queue, while it fills, and when it is full
def test_resumed_run_is_bit_identical(tiny, tmp_path, stop) -> None:
    tiny["losses"] = [{"name": "swav", "queue": 900, "queue_start": 1}, {"name": "imc"}]
    tiny["optimizer"] = {"name": "lars", "lr": 1.0, "weight_decay": 1e-4}
    imcswav.run(tiny, out=tmp_path / "whole")
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "stopped")
    StopAfter(trainer, stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.learner.losses[0].queue.full is (stop == 17)
    imcswav.resume(tmp_path / "stopped")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


@pytest.mark.parametrize("clip", [False, True])
def test_a_step_of_lars_waits_for_nothing(clip) -> None:
    """With the learning rate as a tensor, as it is on a GPU."""
    parameters = [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.zeros(4))]
    optimizer = LARS.create(lr=1.0, weight_decay=0.1, trust_clip=clip).make(
        [("a", parameters[0]), ("b", parameters[1])]
    )
    optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        with Watch() as watch:
            optimizer.step()
        assert watch.seen
        assert not watch.seen & WAITS


def test_a_step_with_a_full_queue_waits_for_nothing() -> None:
    one = engine()
    for n in range(4):
        with Watch() as watch:
            one.step(Batch(images(8), torch.arange(8)), Progress(n + 1, 1, 20, 10))
    assert one.learner.losses[0].queue.full
    assert not watch.seen & WAITS
