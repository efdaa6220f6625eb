"""A merge tree over many small clusters: over-cluster, then merge two at a time (Ward 1963)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imcswav.clusterers import Array

ITERATIONS = 20
"""Most Lloyd iterations of the small clusters: only their union matters."""
NOTHING = 1e-6
"""Heights below this share of the largest are rounding: images that are alike."""


@dataclass(frozen=True)
class MergeTree:
    """How M small clusters of N images become one."""

    small_N: Array
    """The small cluster of each image, 0 … M−1."""
    merges: tuple[tuple[int, int], ...]
    """The M−1 pairs of small clusters that stand for what is merged, first merge first; the second joins the first."""
    heights: Array
    """What each merge adds to the sum of squared distances to the centres, (M−1,)."""

    def cut(self, clusters: int) -> Array:
        """Cluster of each image (N,), 0 … K−1, when ``clusters`` are left: all M where there are fewer."""
        owner_M = np.arange(len(self.merges) + 1)
        for first, second in self.merges[: max(len(owner_M) - clusters, 0)]:
            owner_M[owner_M == second] = first
        labels_N: Array = np.unique(owner_M, return_inverse=True)[1].reshape(-1)[self.small_N]
        return labels_N

    def gap(self, clusters: int) -> float:
        """ln of how much farther apart K clusters are than K + 1: half the log ratio of the two merges' heights.

        0 where the tree doesn't reach so far.
        """
        place = len(self.heights) + 1 - clusters  # the merge that leaves K − 1
        if not 1 <= place < len(self.heights):
            return 0.0
        least = max(NOTHING * float(self.heights.max()), np.finfo(np.float64).tiny)
        before, after = np.maximum(self.heights[place - 1 : place + 1], least)
        return float(np.log(after / before) / 2)


def merge_tree(features_NF: Array, small: int, seed: int) -> MergeTree:
    """Cut images into ``small`` clusters by k-means, and merge those by Ward's rule, which weighs them by their images.

    Fewer small clusters where images are alike.
    """
    from sklearn.cluster import KMeans  # a second to import

    distinct = len(np.unique(features_NF, axis=0))
    found = KMeans(min(small, distinct), n_init=1, max_iter=ITERATIONS, random_state=seed).fit(features_NF)
    small_N = np.unique(found.labels_, return_inverse=True)[1].reshape(-1)
    sizes_M = np.bincount(small_N)
    merges, heights = _merges(cluster_means(features_NF, small_N, len(sizes_M)), sizes_M)
    return MergeTree(small_N, merges, heights)


def cluster_means(features_NF: Array, labels_N: Array, clusters: int) -> Array:
    """Mean of each cluster (K, F); zeros for an empty one."""
    members_KN = (np.arange(clusters)[:, None] == labels_N).astype(features_NF.dtype)
    return np.asarray(members_KN @ features_NF / np.maximum(members_KN.sum(1, keepdims=True), 1))


def _merges(centres_MF: Array, sizes_M: Array) -> tuple[tuple[tuple[int, int], ...], Array]:
    """Ward's merges of weighted points, by the update of Lance and Williams (1967)."""
    count_M = sizes_M.astype(np.float64)
    squares_MM = ((centres_MF[:, None] - centres_MF[None]).astype(np.float64) ** 2).sum(-1)
    cost_MM = squares_MM * (count_M[:, None] * count_M / (count_M[:, None] + count_M))
    np.fill_diagonal(cost_MM, np.inf)
    merges, heights = [], []
    for _ in range(len(count_M) - 1):
        first, second = sorted(divmod(int(cost_MM.argmin()), len(count_M)))
        height = cost_MM[first, second]
        merges.append((first, second))
        heights.append(height)
        either_M = (count_M + count_M[first]) * cost_MM[first] + (count_M + count_M[second]) * cost_MM[second]
        joined_M = (either_M - count_M * height) / (count_M + count_M[first] + count_M[second])
        joined_M[first] = np.inf  # what was merged away is at infinity already
        cost_MM[first] = cost_MM[:, first] = joined_M
        cost_MM[second] = cost_MM[:, second] = np.inf
        count_M[first] += count_M[second]
    return tuple(merges), np.array(heights)
