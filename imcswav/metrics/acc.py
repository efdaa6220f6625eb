"""Clustering accuracy: the share of images right under the best matching of clusters to classes."""

from __future__ import annotations

import numpy as np

from imcswav.metrics import Array, Metric, Scored
from imcswav.plugins import hookimpl


class Accuracy(Metric, name="acc"):
    """Hungarian matching (Kuhn 1955), one class to one cluster.

    Clusters and classes may differ in number: images of one that is left without a partner count as wrong.
    """

    def __call__(self, scored: Scored) -> float:
        """Accuracy in [0, 1]."""
        assert scored.clusters_N is not None
        return accuracy(scored.labels_N, scored.clusters_N)


def accuracy(labels_N: Array, clusters_N: Array) -> float:
    """Accuracy in [0, 1] of any integer labels and clusters, (N,) each."""
    classes, class_N = np.unique(labels_N, return_inverse=True)
    clusters, cluster_N = np.unique(clusters_N, return_inverse=True)
    table = contingency(class_N, cluster_N, len(classes), len(clusters))
    return float(sum(table[pair] for pair in match(table)) / len(labels_N))


def contingency(labels_N: Array, clusters_N: Array, classes: int, clusters: int) -> Array:
    """Counts of images (classes, clusters); labels are 0 … classes − 1 and clusters likewise."""
    counts = np.bincount(labels_N * clusters + clusters_N, minlength=classes * clusters)
    return counts.reshape(classes, clusters)


def match(table: Array) -> list[tuple[int, int]]:
    """The (row, column) pairs of the matching with the largest total, rows ascending."""
    from scipy.optimize import linear_sum_assignment  # slow to import, so only where it is asked for

    rows, columns = linear_sum_assignment(table, maximize=True)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Accuracy]
