import math

import pytest
import torch
from imcswav_mean_entropy import MeanEntropy

from imcswav.plugins import registry
from imcswav.step import Output, Step
from imcswav.testing import check_component


def loss_of(*clusters_of_each_view: list[int]) -> float:
    """The loss when each view of each image is surely in the given one of 4 clusters."""
    labels_VB = torch.tensor(clusters_of_each_view)
    logits_VBK = 50 * torch.nn.functional.one_hot(labels_VB, 4).double()
    step = Step(global_views=len(labels_VB), outputs={"online.classifier": Output(logits_VBK, (0, 1))})
    return MeanEntropy.create()(step).item()


def test_it_keeps_the_contract() -> None:
    check_component(MeanEntropy)


def test_recipes_find_it() -> None:
    assert registry().get("loss", "mean_entropy") is MeanEntropy


def test_even_clusters_are_the_least() -> None:
    assert loss_of([0, 1, 2, 3], [0, 1, 2, 3]) == pytest.approx(-math.log(4), abs=1e-6)
    assert loss_of([0, 0, 1, 1], [0, 0, 1, 1]) == pytest.approx(-math.log(2), abs=1e-6)
    assert loss_of([2, 2, 2, 2], [2, 2, 2, 2]) == pytest.approx(0, abs=1e-6)
    assert loss_of([0, 0, 0, 0], [1, 1, 1, 1]) == pytest.approx(-math.log(2), abs=1e-6)  # views count like images
