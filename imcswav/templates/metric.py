"""Purity: what share of the images belongs to the commonest class of their cluster."""

from __future__ import annotations

import numpy as np

from imcswav.metrics import Metric, Scored
from imcswav.plugins import hookimpl


class Mine(Metric, name="mine"):
    """Purity, in (0, 1]; it rises with the number of clusters, so compare it at equal numbers only."""

    def __call__(self, scored: Scored) -> float:
        """The figure."""
        assert scored.clusters_N is not None  # ``reads`` says that it is needed
        hits = sum(
            _commonest(scored.labels_N[scored.clusters_N == cluster]) for cluster in np.unique(scored.clusters_N)
        )
        return hits / len(scored.labels_N)


def _commonest(labels_M: np.ndarray) -> int:
    return int(np.unique(labels_M, return_counts=True)[1].max())


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
