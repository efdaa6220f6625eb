"""How well each cluster holds together, in figures and in words; no label is needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imcswav.clusterers import Array
from imcswav.clustering import Clustering

SMALL, LARGE = 0.2, 3.0
"""Sizes that are worth a word, as multiples of an even share."""
DOUBTFUL = 0.5
"""Mean confidence below which a cluster is called doubtful."""
CLOSE = 0.25
"""Separation below which two clusters are called close, as a multiple of the spread (1 − cohesion) within one."""


@dataclass(frozen=True)
class Health:
    """Figures of one cluster; None where it is empty or the only one."""

    size: int
    share: float
    confidence: float | None
    cohesion: float | None
    """Mean cosine between the images and the cluster's centre."""
    separation: float | None
    """1 − cosine between its centre and the nearest other one."""
    nearest: int | None
    """Number of that other cluster."""
    warnings: tuple[str, ...]


def cluster_health(clustering: Clustering) -> dict[int, Health]:
    """Health of each cluster by its number, in the order of the numbers."""
    centres_KF = clustering.centres_KF
    sizes_K = np.array([len(clustering.members(cluster)) for cluster in clustering.ids])
    cosines_KK = centres_KF @ centres_KF.T
    np.fill_diagonal(cosines_KK, -np.inf)
    cosines_KK[:, sizes_K == 0] = -np.inf
    found = {}
    for column, cluster in enumerate(clustering.ids):
        members = clustering.members(cluster)
        if not len(members):
            found[cluster] = Health(0, 0.0, None, None, None, None, ("No image is in it.",))
            continue
        other = int(cosines_KK[column].argmax())
        alone = not np.isfinite(cosines_KK[column, other])
        figures = (
            len(members),
            len(members) / len(clustering),
            float(clustering.confidence_N[members].mean()),
            float(1 - clustering.distance_N[members].mean()),
            None if alone else float(1 - cosines_KK[column, other]),
            None if alone else clustering.ids[other],
        )
        found[cluster] = Health(*figures, _warnings(clustering, *figures))
    return found


def effective_clusters(sizes_K: Array) -> float:
    """exp of the entropy of the clusters' shares: K equal clusters count as K, an empty one as none."""
    shares_K = sizes_K[sizes_K > 0] / max(1, sizes_K.sum())
    return float(np.exp(-(shares_K * np.log(shares_K)).sum())) if len(shares_K) else 0.0


def _warnings(
    clustering: Clustering, size: int, share: float, confidence: float, cohesion: float,
    separation: float | None, nearest: int | None,
) -> tuple[str, ...]:  # fmt: skip
    even = 1 / len(clustering.ids)
    said = []
    if share < SMALL * even:
        said.append(f"Small: {size:,} where even clusters had {even * len(clustering):,.0f}.")
    if share > LARGE * even:
        said.append(f"Large: {share:.0%} of all images; it may hold several kinds.")
    if confidence < DOUBTFUL:
        said.append(f"Doubtful: mean confidence {confidence:.2f}.")
    if separation is not None and nearest is not None and separation < CLOSE * (1 - cohesion):
        name = clustering.titles.get(nearest)
        said.append(f"Close to {clustering.title(nearest)}{f' ({nearest})' if name else ''}: compare them.")
    return tuple(said)
