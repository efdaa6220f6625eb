"""Normalised mutual information between clusters and classes."""

from __future__ import annotations

import numpy as np

from imcswav.metrics import Array, Metric, Scored
from imcswav.plugins import hookimpl


class NMI(Metric, name="nmi"):
    """Mutual information over the arithmetic mean of the two entropies."""

    def __call__(self, scored: Scored) -> float:
        """NMI in [0, 1]."""
        return normalised_information(scored.counts)


def normalised_information(table_CK: Array) -> float:
    """NMI of counts (C, K); one class in one cluster counts as agreement."""
    by_class, by_cluster, both = (_entropy(counts) for counts in (table_CK.sum(1), table_CK.sum(0), table_CK.ravel()))
    if by_class == by_cluster == 0:
        return 1.0
    return float(np.clip(2 * (by_class + by_cluster - both) / (by_class + by_cluster), 0, 1))


def _entropy(counts: Array) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [NMI]
