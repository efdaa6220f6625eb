"""Every rung of the ladder on digits ends bit for bit alike, run in one go, stopped by Ctrl-C, or killed."""

import pytest
from test_trainer import StopAfter, assert_same, weights

import imcswav
from imcswav.api import prepare
from imcswav.data.array import ArrayData
from imcswav.recipe.files import load_recipe
from imcswav.recipe.ladders import find_ladder

IMAGES = 200
CHANGES = {  # five steps an epoch; k-means labels the images from the second epoch on
    "trainer.batch_size": 40, "trainer.epochs": 3, "trainer.log_every": 1, "trainer.device": "cpu",
    "trainer.threads": 1,
    "evaluation.signals": False, "evaluation.plots": False, "callbacks.tensorboard.enabled": False,
    "callbacks.evaluate.enabled": False, "callbacks.console.enabled": False,
}  # fmt: skip
STOP = 8
"""Steps before the run is torn off, in the midst of the second epoch."""
RUNGS = find_ladder("plus/digits").rungs


class Killed(BaseException):
    """What nothing catches and saves before."""


class KillAfter(StopAfter):
    """Ends the run after so many steps without a checkpoint of them."""

    def __call__(self, progress):
        self.inner(progress)
        if progress.step + 1 == self.steps:
            raise Killed


@pytest.fixture(scope="module")
def images():
    from sklearn.datasets import load_digits

    found = load_digits()
    return ArrayData.of((found.images[:IMAGES] * 15).astype("uint8"), labels=found.target[:IMAGES])


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """The folder of each rung's run in one go, each made when it is asked for."""
    folder, made = tmp_path_factory.mktemp("whole"), {}

    def run(name):
        if name not in made:
            changes = settings(name, run)
            made[name] = imcswav.run(RUNGS[name], changes, folder / name, images, warn=lambda problem: None).path
        return made[name]

    return run


def settings(name, whole):
    """A second stage starts from the whole run of its rung."""
    init = load_recipe(RUNGS[name]).init
    return CHANGES if init is None else CHANGES | {"init.run": str(whole(init.rung))}


STOPPED, KILLED = (StopAfter, KeyboardInterrupt, STOP), (KillAfter, Killed, 5)


@pytest.mark.parametrize(
    ("name", "tear", "ended", "left"),
    [*((name, *STOPPED) for name in RUNGS), ("c_structure", *KILLED), ("d_self_label", *KILLED)],
)
def test_a_resumed_run_ends_bit_identical(name, tear, ended, left, whole, images, tmp_path):
    straight, out = whole(name), tmp_path / "torn"
    trainer = prepare(RUNGS[name], settings(name, whole), out, images, lambda problem: None)
    tear(trainer, STOP)
    with pytest.raises(ended), trainer.run.locked():
        trainer.fit()
    assert sorted((out / "checkpoints").glob("step-*.pt"))[-1].stem.endswith(str(left))
    assert imcswav.resume(out, data=images).summary["steps"] == 15
    assert_same(weights(straight), weights(out))
    for file in ("assignments.csv", "model/weights.safetensors"):
        assert (straight / file).read_bytes() == (out / file).read_bytes(), file
