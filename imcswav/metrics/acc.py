"""Clustering accuracy: the share of images right under the best matching of clusters to classes."""

from __future__ import annotations

from scipy.optimize import linear_sum_assignment

from imcswav.metrics import Array, Metric, Scored, table
from imcswav.plugins import hookimpl


class Accuracy(Metric, name="acc"):
    """Hungarian matching (Kuhn 1955), one class to one cluster.

    Clusters and classes may differ in number: images of one that is left without a partner count as wrong.
    """

    def __call__(self, scored: Scored) -> float:
        """Accuracy in [0, 1]."""
        return share_matched(scored.counts)


def accuracy(labels_N: Array, clusters_N: Array) -> float:
    """Accuracy in [0, 1] of any integer labels and clusters, (N,) each."""
    return share_matched(table(labels_N, clusters_N))


def share_matched(table_CK: Array) -> float:
    """Share of the counts that the best matching keeps."""
    return float(sum(table_CK[pair] for pair in match(table_CK)) / table_CK.sum())


def match(table_CK: Array) -> list[tuple[int, int]]:
    """The (row, column) pairs of the matching with the largest total, rows ascending."""
    rows, columns = linear_sum_assignment(table_CK, maximize=True)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Accuracy]
