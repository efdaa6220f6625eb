"""Adjusted Rand index (Hubert & Arabie 1985)."""

from __future__ import annotations

from imcswav.metrics import Metric, Scored
from imcswav.plugins import hookimpl


class ARI(Metric, name="ari"):
    """Agreement on pairs of images, 0 expected by chance; at least −0.5."""

    def __call__(self, scored: Scored) -> float:
        """ARI in [−0.5, 1]."""
        assert scored.clusters_N is not None
        from sklearn.metrics import adjusted_rand_score  # a second to import

        return float(adjusted_rand_score(scored.labels_N, scored.clusters_N))


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [ARI]
