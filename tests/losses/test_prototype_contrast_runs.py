"""Prototype contrast in whole trainings: recorded, resumed, blind to the data's labels, without host waits."""

import pytest
import torch
from test_engine import Replayer, engine
from test_trainer import StopAfter, assert_same, weights
from tiny import SETTINGS, images, learner

import imcswav
from imcswav.build import build_run
from imcswav.data import Batch
from imcswav.data.array import ArrayData
from imcswav.learners import Epoch
from imcswav.losses._labels import Labels
from imcswav.recipe.files import load_recipe
from imcswav.step import Progress

CONTRAST = {"name": "prototype_contrast", "start": 0.3, "drop": 0.2}


def taught(**settings) -> object:
    losses = [{"name": "swav", "codes": "teacher.prototypes"}, {"name": "imc"}, CONTRAST | settings]
    return learner(losses=losses, teacher={"momentum": 0.9}, heads=SETTINGS["heads"])


@pytest.mark.parametrize("settings", [{}, {"labels": "classifier", "drop": 0.0}])
def test_replayed_steps_equal_eager_ones_when_it_begins(settings) -> None:
    def train(one) -> list[float]:
        found = []
        for number in range(24):
            progress = Progress(number, number // 4, 24, 4)
            if number % 4 == 0:
                one.learner.start_epoch(Epoch(progress, images(24), seed=number))
            index = torch.arange(8) + 8 * (number % 3)
            scalars = one.step(Batch(images(24)[index], index), progress)
            found += [scalars["loss"].item(), scalars["loss/prototype_contrast"].item()]
        return found

    recorder = Replayer()
    plain, replayed = engine(taught(**settings)), engine(taught(**settings), recorder)
    losses = train(plain)
    assert losses == train(replayed)
    assert replayed.notes == []
    assert (len(recorder.recorded), recorder.eager) == (2, 6)
    begins = 7 if settings else 8
    assert [value > 0 for value in losses[1::2]] == [number >= begins for number in range(24)]
    assert_same(plain.learner.state_dict(), replayed.learner.state_dict())


def test_labelling_goes_on_in_a_training_that_was_made_longer() -> None:
    """It began at 30 % of 12 steps, which in a training of 48 are not there yet."""
    one, made = taught(), []
    loss = next(part for part in one.modules() if hasattr(part, "labels") and isinstance(part.labels, Labels))
    one.start_epoch(Epoch(Progress(0, 0, 12, 4), images(24), seed=0))
    assert not loss.labels.made
    one.start_epoch(Epoch(Progress(4, 1, 12, 4), images(24), seed=1))
    assert loss.labels.made
    for epoch in 2, 3:
        loss.labels.labels.fill_(-1)
        one.start_epoch(Epoch(Progress(4 * epoch, epoch, 48, 4), images(24), seed=1))
        made.append(int(loss.labels.labels.min()))
    assert made == [0, 0]


@pytest.fixture
def contrasting(tiny) -> dict:
    """The tiny recipe, three epochs of seven steps; k-means labels before the second and the third."""
    tiny["learner"] = {"teacher": {"momentum": 0.9}}
    tiny["losses"] = [{"name": "swav", "codes": "teacher.prototypes"}, {"name": "imc"}, CONTRAST]
    return tiny


@pytest.mark.parametrize("stop", [9, 17])  # within the epochs that the first and the second labelling begin
def test_resumed_run_is_bit_identical(contrasting, tmp_path, stop, monkeypatch) -> None:
    made = []
    make = Labels.make
    monkeypatch.setattr(Labels, "make", lambda self, *given: (made.append(self), make(self, *given)))
    imcswav.run(contrasting, out=tmp_path / "whole")
    assert len(made) == 2
    trainer, _ = build_run(load_recipe(contrasting), out=tmp_path / "stopped")
    StopAfter(trainer, stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.step == stop
    imcswav.resume(tmp_path / "stopped")
    assert len(made) == 4
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert (~weights(tmp_path / "whole")["losses.2.labels.keep"]).sum() == round(0.2 * 1797)


def test_labels_of_the_data_change_nothing(contrasting, tmp_path) -> None:
    split = load_recipe(contrasting).data.build().train
    for name, truth in {"true": split.labels, "shuffled": split.labels.roll(1), "none": None}.items():
        imcswav.run(contrasting, out=tmp_path / name, data=ArrayData.of(split.images.numpy(), labels=truth))
    for name in ("shuffled", "none"):
        assert_same(weights(tmp_path / "true"), weights(tmp_path / name))


def test_no_host_wait_in_a_step(contrasting, tmp_path) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    contrasting["losses"] = [{"name": "swav"}, CONTRAST | {"start": 0.0}]
    trainer, _ = build_run(load_recipe(contrasting), out=tmp_path / "run")
    trainer.learner.train()
    trainer._start_epoch()
    batch = next(trainer.data.batches(0, seed=0, batch_size=64))
    with Watch():
        trainer._train_step(batch)
    assert trainer.learner.losses[1].on
    assert "logsumexp" in seen
    assert not seen & {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "lift_fresh"}
