"""NMI and ARI against their definitions."""

import math
from itertools import combinations

import numpy as np
import pytest

from imcswav.metrics import Scored
from imcswav.metrics.ari import ARI
from imcswav.metrics.nmi import NMI


def scored(labels: np.ndarray, clusters: np.ndarray) -> Scored:
    none = np.zeros((len(labels), 1))
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


def test_extremes() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    for metric in (NMI.create(), ARI.create()):
        assert metric(scored(labels, (labels + 1) % 3)) == pytest.approx(1.0)
        assert metric(scored(labels, np.zeros(6, dtype=int))) == pytest.approx(0.0)
