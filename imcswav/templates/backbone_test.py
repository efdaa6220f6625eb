import pytest
import torch
from imcswav_mine import Mine

from imcswav.plugins import registry
from imcswav.testing import check_component


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("backbone", "mine") is Mine


@pytest.mark.parametrize("size", [6, 9, 32])
def test_it_takes_crops_of_every_size(size: int) -> None:
    backbone = Mine.create(width=4, channels=3, image_size=32)
    assert backbone(torch.randn(2, 3, size, size)).shape == (2, 8)
