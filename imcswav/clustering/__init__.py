"""A clustering of a collection of images: what tables, reports, edits and the choice of K read.

``Clustering.of(run)`` gives that of a finished run, with the edits that were made since. It knows no pixels; see
imcswav/clustering/thumbnails.py for small pictures of the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from imcswav.clusterers import Array, unit_rows

OUTLIER = -1
"""The cluster of images that were taken out of all clusters."""


@dataclass(frozen=True)
class Clustering:
    """N images with features (N, F) and probabilities (N, K) of K clusters.

    A cluster keeps its number for good: ``ids`` has those of the K columns, in ascending order.
    """

    names: Sequence[str]
    """Of each image, unique and printable: its path below ``root`` where it is a file."""
    features_NF: Array
    """float32, as the network gives them."""
    probabilities_NK: Array
    """float32, rows sum to 1."""
    ids: tuple[int, ...]
    titles: Mapping[int, str] = field(default_factory=dict)
    """Names that somebody gave to clusters, by their number."""
    splits: Sequence[str] = ()
    """Split of each image: "train" or "test" of each image."""
    labels: Sequence[str] = ()
    """Ground truth of each image, "" where unknown; empty where there is none. For looking and scoring only."""
    root: str = ""
    """Absolute path of the folder of the files; "" where images are no files."""
    paths: Sequence[str] = ()
    """Of each file below ``root``, as the file system knows it (names may differ in bytes that can't be printed)."""
    duplicates: Mapping[int, int] = field(default_factory=dict)
    """Image → the image that it nearly equals, where the files were looked through for that."""
    given: Mapping[int, int] = field(default_factory=dict)
    """Image → cluster (or −1) that somebody set by hand."""
    threshold: float = 0.0
    """Images of less confidence are outliers."""

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def clusters_N(self) -> Array:
        """Number of each image's cluster, int64 (N,): the most probable or the given one; −1 for outliers."""
        clusters_N: Array = np.asarray(self.ids, np.int64)[self.probabilities_NK.argmax(1)]
        clusters_N[self.confidence_N < self.threshold] = OUTLIER
        for image, cluster in self.given.items():
            clusters_N[image] = cluster
        return clusters_N

    @cached_property
    def confidence_N(self) -> Array:
        """Largest probability of each image, float32 (N,)."""
        confidence_N: Array = self.probabilities_NK.max(1)
        return confidence_N

    @cached_property
    def second_N(self) -> Array:
        """Number of the second most probable cluster, int64 (N,); −1 where there is but one cluster.

        Of an image set by hand, the most probable one that isn't its own.
        """
        if len(self.ids) < 2:
            return np.full(len(self), OUTLIER)
        order_NK = np.argsort(-self.probabilities_NK, axis=1, kind="stable")
        second_N: Array = np.asarray(self.ids, np.int64)[order_NK[:, 1]]
        for image, cluster in self.given.items():
            first = self.ids[order_NK[image, 0]]
            second_N[image] = second_N[image] if first == cluster else first
        return second_N

    @cached_property
    def centres_KF(self) -> Array:
        """Direction of the mean of each cluster's unit features (K, F); zeros for an empty cluster."""
        unit_NF = unit_rows(self.features_NF)
        return unit_rows(np.stack([unit_NF[self.members(cluster)].sum(0) for cluster in self.ids]))

    @cached_property
    def distance_N(self) -> Array:
        """1 − cosine between each image's features and its cluster's centre, 0 … 2; NaN for outliers."""
        column = {cluster: place for place, cluster in enumerate(self.ids)}
        places_N = np.array([column.get(cluster, 0) for cluster in self.clusters_N.tolist()])
        cosines_N = (unit_rows(self.features_NF) * self.centres_KF[places_N]).sum(1)
        return np.where(self.clusters_N == OUTLIER, np.nan, 1 - cosines_N)

    def members(self, cluster: int) -> Array:
        """The images of a cluster, ascending."""
        return np.flatnonzero(self.clusters_N == cluster)

    def representatives(self, cluster: int, count: int) -> Array:
        """The images nearest to their cluster's centre, nearest first."""
        members = self.members(cluster)
        nearest: Array = members[np.argsort(self.distance_N[members], kind="stable")[:count]]
        return nearest

    def borderline(self, cluster: int, count: int) -> Array:
        """The images of least confidence, least first, none that was set by hand."""
        members = np.array([image for image in self.members(cluster).tolist() if image not in self.given], np.int64)
        doubtful: Array = members[np.argsort(self.confidence_N[members], kind="stable")[:count]]
        return doubtful

    def title(self, cluster: int) -> str:
        """The name somebody gave, else "cluster 3"; "outliers" for −1."""
        return self.titles.get(cluster) or ("outliers" if cluster == OUTLIER else f"cluster {cluster}")

    def file(self, image: int) -> Path | None:
        """Path of an image's file; None where it is none."""
        return Path(self.root, self.paths[image]) if self.paths else None

    @classmethod
    def of(cls, run: str | Path) -> Clustering:
        """The clustering of a finished run, edits included; raises RunError where nothing tells it."""
        from imcswav.clustering.store import load

        return load(Path(run))
