"""Adjusted Rand index (Hubert & Arabie 1985)."""

from __future__ import annotations

from math import comb

from imcswav.metrics import Array, Metric, Scored
from imcswav.plugins import hookimpl


class ARI(Metric, name="ari"):
    """Agreement on pairs of images, 0 expected by chance; at least −0.5."""

    def __call__(self, scored: Scored) -> float:
        """ARI in [−0.5, 1]."""
        return adjusted_rand(scored.counts)


def adjusted_rand(table_CK: Array) -> float:
    """ARI of counts (C, K), equation 5 of the paper, in whole numbers of any size; equal partitions give 1."""
    together = _pairs(table_CK.ravel())
    by_class, by_cluster = _pairs(table_CK.sum(1)), _pairs(table_CK.sum(0))
    if together == by_class == by_cluster:  # also a single cluster, or each image its own: 0 / 0
        return 1.0
    everything, expected = comb(int(table_CK.sum()), 2), by_class * by_cluster
    return 2 * (everything * together - expected) / (everything * (by_class + by_cluster) - 2 * expected)


def _pairs(counts: Array) -> int:
    return sum(comb(count, 2) for count in counts.tolist())


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [ARI]
