"""Accuracy against a search over all matchings."""

from itertools import permutations

import numpy as np
import pytest
import torch

from imcswav.metrics import Scored
from imcswav.metrics.acc import Accuracy, accuracy, contingency, match


def searched(labels: list[int], clusters: list[int]) -> float:
    """The best share right over all one-to-one maps of clusters to classes (or to nothing)."""
    names = sorted(set(clusters))
    targets = sorted(set(labels)) + [None] * len(names)
    best = 0
    for chosen in set(permutations(targets, len(names))):
        mapped = dict(zip(names, chosen, strict=True))
        best = max(best, sum(mapped[c] == y for c, y in zip(clusters, labels, strict=True)))
    return best / len(labels)


@pytest.mark.parametrize(("classes", "clusters"), [(3, 3), (2, 4), (4, 2), (3, 1), (1, 3)])
def test_accuracy_is_the_searched_one(classes: int, clusters: int) -> None:
    rng = np.random.default_rng(classes * 10 + clusters)
    for _ in range(5):
        labels, assigned = rng.integers(0, classes, 30), rng.integers(0, clusters, 30)
        assert accuracy(labels, assigned) == pytest.approx(searched(labels.tolist(), assigned.tolist()))


def test_more_clusters_than_classes_leaves_images_wrong() -> None:
    assert accuracy(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 2, 2, 3])) == pytest.approx(4 / 6)


def test_names_of_labels_do_not_matter() -> None:
    labels = np.array([7, 7, -1, 100, 100])
    assert accuracy(labels, np.array([2, 2, 0, 9, 9])) == 1.0


def test_the_component() -> None:
    none = torch.zeros(4, 1)
    scored = Scored(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 1]), none, none, np.zeros(4), same=False)
    assert Accuracy.create()(scored) == 0.75


def test_contingency_and_match() -> None:
    table = contingency(np.array([0, 0, 1, 1, 1]), np.array([2, 2, 0, 0, 1]), classes=2, clusters=4)
    assert table.tolist() == [[0, 0, 2, 0], [2, 1, 0, 0]]
    assert match(table) == [(0, 2), (1, 0)]
