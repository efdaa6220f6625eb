"""NMI and ARI against their definitions and against scikit-learn."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from imcswav import metrics
from imcswav.metrics import Scored
from imcswav.metrics.acc import Accuracy
from imcswav.metrics.ari import ARI, adjusted_rand
from imcswav.metrics.nmi import NMI


def scored(labels: np.ndarray, clusters: np.ndarray) -> Scored:
    none = torch.zeros(len(labels), 1)
    return Scored(labels, clusters, none, none, labels, same=True)


def entropy(values: list[object]) -> float:
    shares = [values.count(value) / len(values) for value in set(values)]
    return -sum(share * math.log(share) for share in shares)


def nmi(labels: list[int], clusters: list[int]) -> float:
    both = entropy(list(zip(labels, clusters, strict=True)))
    return (entropy(labels) + entropy(clusters) - both) / ((entropy(labels) + entropy(clusters)) / 2)


def ari(labels: list[int], clusters: list[int]) -> float:
    pairs = list(combinations(range(len(labels)), 2))
    same_class = [labels[i] == labels[j] for i, j in pairs]
    same_cluster = [clusters[i] == clusters[j] for i, j in pairs]
    together = sum(a and b for a, b in zip(same_class, same_cluster, strict=True))
    expected = sum(same_class) * sum(same_cluster) / len(pairs)
    return (together - expected) / ((sum(same_class) + sum(same_cluster)) / 2 - expected)


@pytest.mark.parametrize("seed", range(4))
def test_against_the_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 40)
    clusters = np.where(rng.random(40) < 0.6, labels, rng.integers(0, 5, 40))
    assert NMI.create()(scored(labels, clusters)) == pytest.approx(nmi(labels.tolist(), clusters.tolist()))
    assert ARI.create()(scored(labels, clusters)) == pytest.approx(ari(labels.tolist(), clusters.tolist()))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (9, 1, 4), (9, 4, 1), (50, 60, 60), (10_000, 9, 3)])
def test_equal_scikit_learn(sizes: tuple[int, int, int]) -> None:
    images, classes, clusters = sizes
    rng = np.random.default_rng(images)
    labels, found = rng.integers(0, classes, images) * 3 - 5, rng.integers(0, clusters, images)
    for given in (found, labels, np.arange(images), np.zeros(images, dtype=int)):
        both = scored(labels, given)
        assert NMI.create()(both) == pytest.approx(normalized_mutual_info_score(labels, given), abs=1e-12)
        assert ARI.create()(both) == pytest.approx(adjusted_rand_score(labels, given), abs=1e-12)


def test_pairs_of_many_images_do_not_overflow() -> None:
    diagonal = np.diag([2**31, 2**31])
    assert adjusted_rand(diagonal) == 1.0
    assert adjusted_rand(diagonal + 1) == pytest.approx(1.0, abs=1e-6)


def test_images_are_counted_once_for_all_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    counted = metrics.table
    monkeypatch.setattr(metrics, "table", lambda *given: (passes.append(1), counted(*given))[1])
    facts = scored(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 1]))
    assert [metric.create()(facts) for metric in (Accuracy, NMI, ARI)] == pytest.approx([0.75, 0.3437, 0.0], abs=1e-4)
    assert passes == [1]


def test_extremes() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    for metric in (NMI.create(), ARI.create()):
        assert metric(scored(labels, (labels + 1) % 3)) == pytest.approx(1.0)
        assert metric(scored(labels, np.zeros(6, dtype=int))) == pytest.approx(0.0)
