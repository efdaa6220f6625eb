import torch
from imcswav_mine import Mine

from imcswav.plugins import registry
from imcswav.testing import check_component


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("solver", "mine") is Mine


def test_a_prototype_that_is_used_less_gets_more() -> None:
    scores_GBP = torch.tensor([[[1.0, 0.9], [1.0, 0.9], [1.0, 0.9], [0.5, 0.5]]])  # three images lean to the first
    undecided_P = Mine.create()(scores_GBP)[0, 3]
    assert undecided_P[1] > undecided_P[0]
