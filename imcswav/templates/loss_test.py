import pytest
import torch
from imcswav_mine import Mine

from imcswav.plugins import registry
from imcswav.step import Output, Step
from imcswav.testing import check_component


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("loss", "mine") is Mine


def test_views_that_agree_cost_nothing_and_views_that_do_not_cost_the_variance() -> None:
    logits_VBK = torch.tensor([[[9.0, -9.0], [9.0, -9.0]], [[9.0, -9.0], [-9.0, 9.0]]])  # the second image: 0, then 1
    step = Step(global_views=2, outputs={"online.classifier": Output(logits_VBK, (0, 1))})
    # one image of two has probabilities 0 and 1 for each of two clusters: variance 1/4 + 1/4
    assert Mine.create()(step).item() == pytest.approx(0.25, abs=1e-4)
