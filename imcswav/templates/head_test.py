import torch
from imcswav_mine import Mine

from imcswav.plugins import registry
from imcswav.testing import check_component


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("head", "mine") is Mine


def test_only_the_direction_of_a_row_counts() -> None:
    head, x_MF = Mine.create(in_features=4, clusters=3), torch.randn(5, 4)
    assert head(x_MF).shape == (5, 3)
    assert torch.allclose(head(x_MF), head(7 * x_MF), atol=1e-5)
