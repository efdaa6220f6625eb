import pytest
import torch
from imcswav_mine import Mine
from torch import nn

from imcswav.plugins import registry
from imcswav.testing import check_component


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("optimizer", "mine") is Mine


def test_the_first_step_has_the_same_length_whatever_the_gradient() -> None:
    steps = []
    for size in (1.0, 100.0):
        weight = nn.Parameter(torch.zeros(1))
        optimizer = Mine.create(lr=0.1, alpha=0.75).make([("weight", weight)])
        weight.grad = torch.tensor([size])
        optimizer.step()
        steps.append(weight.item())
    assert steps == pytest.approx([-0.2, -0.2], rel=1e-4)  # −lr / √(1 − alpha)
