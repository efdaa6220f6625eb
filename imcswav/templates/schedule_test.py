from imcswav_mine import Mine

from imcswav.plugins import registry
from imcswav.step import Progress
from imcswav.testing import check_component


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("schedule", "mine") is Mine


def test_it_falls_from_one_to_the_least() -> None:
    schedule = Mine.create(least=0.2)
    factors = [schedule.factor(Progress(step, 0, steps=100, steps_per_epoch=100)) for step in range(100)]
    assert factors == sorted(factors, reverse=True)
    assert (factors[0], factors[75], factors[-1]) == (1.0, 0.5, 0.2)
