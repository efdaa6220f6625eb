"""Normalised mutual information between clusters and classes."""

from __future__ import annotations

from imcswav.metrics import Metric, Scored
from imcswav.plugins import hookimpl


class NMI(Metric, name="nmi"):
    """Mutual information over the arithmetic mean of the two entropies."""

    def __call__(self, scored: Scored) -> float:
        """NMI in [0, 1]."""
        assert scored.clusters_N is not None
        from sklearn.metrics import normalized_mutual_info_score  # a second to import

        return float(normalized_mutual_info_score(scored.labels_N, scored.clusters_N, average_method="arithmetic"))


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [NMI]
