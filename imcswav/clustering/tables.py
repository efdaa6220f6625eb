"""``labels.csv``, a row an image, and ``clusters.csv``, a row a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from imcswav.clustering import OUTLIER, Clustering
from imcswav.clustering.written import write_ours
from imcswav.files import write_csv

TABLES = ("labels.csv", "clusters.csv")

LABELS = (
    "image", "cluster", "name", "confidence", "second_cluster", "distance", "representative", "near_duplicate_of",
    "set_by_hand", "split", "label",
)  # fmt: skip
"""``distance``: 1 − cosine to the cluster's centre; ``label``: the ground truth where there is one."""
CLUSTERS = ("cluster", "name", "size", "share", "mean_confidence", "cohesion", "representatives")
"""``cohesion``: mean cosine between images and the cluster's centre."""
REPRESENTATIVES = 12
"""Images of a cluster that are called its representatives."""


def write_tables(clustering: Clustering, run: Path) -> list[Path]:
    """Write both files, each atomically; returns where those went that somebody had changed. Raises OSError."""
    labels = write_ours(run, "labels.csv", lambda path: write_csv(path, LABELS, label_rows(clustering)))
    clusters = write_ours(run, "clusters.csv", lambda path: write_csv(path, CLUSTERS, cluster_rows(clustering)))
    return [aside for aside in (labels, clusters) if aside is not None]


def label_rows(clustering: Clustering) -> Iterator[Sequence[Any]]:
    """A row of ``LABELS`` for each image, in the order of the images."""
    clusters, seconds = clustering.clusters_N.tolist(), clustering.second_N.tolist()
    shown = {image for cluster in clustering.ids for image in clustering.representatives(cluster, REPRESENTATIVES)}
    for i, name in enumerate(clustering.names):
        outlier = clusters[i] == OUTLIER
        yield (
            name,
            clusters[i],
            clustering.title(clusters[i]),
            f"{clustering.confidence_N[i]:.4f}",
            seconds[i],
            "" if outlier else f"{clustering.distance_N[i]:.4f}",
            "yes" if i in shown else "",
            clustering.names[clustering.duplicates[i]] if i in clustering.duplicates else "",
            "yes" if i in clustering.given else "",
            clustering.splits[i] if clustering.splits else "",
            clustering.labels[i] if clustering.labels else "",
        )


def cluster_rows(clustering: Clustering) -> Iterator[Sequence[Any]]:
    """A row of ``CLUSTERS`` for each cluster, empty ones too, and one for outliers where there are some."""
    outliers = [OUTLIER] if (clustering.clusters_N == OUTLIER).any() else []
    for cluster in [*clustering.ids, *outliers]:
        members = clustering.members(cluster)
        central = [clustering.names[i] for i in clustering.representatives(cluster, REPRESENTATIVES)]
        known = len(members) > 0 and cluster != OUTLIER
        yield (
            cluster,
            clustering.title(cluster),
            len(members),
            f"{len(members) / max(1, len(clustering)):.4f}",
            f"{clustering.confidence_N[members].mean():.4f}" if len(members) else "",
            f"{1 - clustering.distance_N[members].mean():.4f}" if known else "",
            "" if cluster == OUTLIER else "; ".join(central[:3]),
        )
