"""Learning-rate factors at every place that matters."""

import math

import pytest

from imcswav.schedules import Schedule
from imcswav.schedules.constant import Constant
from imcswav.schedules.cosine import Cosine
from imcswav.schedules.multistep import MultiStep
from imcswav.step import Progress


def factors(schedule: Schedule, steps: int, per_epoch: int = 10) -> list[float]:
    return [schedule.factor(Progress(step, step // per_epoch, steps, per_epoch)) for step in range(steps)]


def test_published_rates_of_cifar10() -> None:
    schedule = MultiStep.create(warmup_steps=500, milestones=[0.3, 0.6, 0.8], gamma=0.4)
    rates = [5e-4 * factor for factor in factors(schedule, 500 * 195, 195)]
    assert rates[0] == pytest.approx(5e-4 / 500)
    assert rates[249] == pytest.approx(2.5e-4)
    assert rates[499] == rates[150 * 195 - 1] == 5e-4
    assert rates[150 * 195] == rates[300 * 195 - 1] == pytest.approx(2e-4)
    assert rates[300 * 195] == rates[400 * 195 - 1] == pytest.approx(0.8e-4)
    assert rates[400 * 195] == rates[-1] == pytest.approx(0.32e-4)


@pytest.mark.parametrize("epochs", [10, 50, 200, 1000])
@pytest.mark.parametrize("per_epoch", [1, 97, 195, 410])
def test_milestones_fall_on_epochs_at_any_length(epochs: int, per_epoch: int) -> None:
    schedule = MultiStep.create(milestones=[0.3, 0.6, 0.8], gamma=0.5)
    for share, before in ((3, 1.0), (6, 0.5), (8, 0.25)):
        step = epochs * share // 10 * per_epoch
        around = [schedule.factor(Progress(s, 0, epochs * per_epoch, per_epoch)) for s in (step - 1, step)]
        assert around == [before, before / 2]


def test_a_milestone_is_rounded_to_a_step() -> None:
    assert 0.29 * 100 < 29  # in floating point
    got = factors(MultiStep.create(milestones=[0.29], gamma=0.5), 100)
    assert got[28:30] == [1.0, 0.5]


@pytest.mark.parametrize("milestones", [[0.0], [1.0], [0.5, 0.5], [0.6, 0.3]])
def test_bad_milestones(milestones: list[float]) -> None:
    with pytest.raises(ValueError, match="milestones"):
        MultiStep.create(milestones=milestones)


@pytest.mark.parametrize("warmup", [{}, {"warmup_steps": 20}, {"warmup_epochs": 2}])
def test_cosine_from_the_warm_up_to_the_last_step(warmup: dict[str, float]) -> None:
    steps = 101
    got = factors(Cosine.create(final=0.1, **warmup), steps)
    start = 19 if warmup else 0
    assert got[:start] == pytest.approx([(step + 1) / 20 for step in range(start)])
    assert got[start] == 1.0
    assert got[-1] == pytest.approx(0.1)
    for step in range(start, steps):
        angle = math.pi * (step - start) / (steps - 1 - start)
        assert got[step] == pytest.approx(0.1 + 0.9 * (1 + math.cos(angle)) / 2)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_cosine_of_a_run_no_longer_than_its_warm_up(steps: int) -> None:
    assert factors(Cosine.create(warmup_steps=5), steps) == pytest.approx([(s + 1) / 5 for s in range(steps)])


def test_constant() -> None:
    assert factors(Constant.create(), 3) == [1.0, 1.0, 1.0]
    assert factors(Constant.create(warmup_steps=2), 4) == [0.5, 1.0, 1.0, 1.0]


def test_one_kind_of_warm_up() -> None:
    with pytest.raises(ValueError, match="not both"):
        Constant.create(warmup_steps=1, warmup_epochs=1)


def test_published_rates_of_swav_on_imagenet() -> None:
    """linspace(0.3, 4.8, steps of 10 epochs), then half a cosine to 0.0048."""
    per_epoch, epochs = 312, 800
    schedule = Cosine.create(warmup_epochs=10, warmup_start=0.0625, final=0.001)
    rates = [4.8 * factor for factor in factors(schedule, epochs * per_epoch, per_epoch)]
    warm = 10 * per_epoch
    assert rates[:warm] == pytest.approx([0.3 + 4.5 * step / (warm - 1) for step in range(warm)])
    rest = (epochs - 10) * per_epoch
    for step in (0, 1, rest // 3, rest - 1):
        angle = math.pi * step / rest
        assert rates[warm + step] == pytest.approx(0.0048 + 4.7952 * (1 + math.cos(angle)) / 2, abs=1e-4)


def test_a_warm_up_of_one_step_is_at_its_end() -> None:
    assert factors(Constant.create(warmup_steps=1, warmup_start=0.1), 3) == [1.0, 1.0, 1.0]
    assert factors(Constant.create(warmup_steps=3, warmup_start=0.0), 4) == [0.0, 0.5, 1.0, 1.0]
