import numpy as np
import torch
from imcswav_mine import Mine

from imcswav.metrics import Scored
from imcswav.plugins import registry
from imcswav.testing import check_component


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("metric", "mine") is Mine


def test_the_commonest_class_of_each_cluster_counts() -> None:
    labels_N, clusters_N = np.array([0, 0, 1, 1, 1]), np.array([5, 5, 5, 2, 2])
    scored = Scored(labels_N, clusters_N, torch.zeros(5, 1), None, None, same=True)
    assert Mine.create()(scored) == 4 / 5
