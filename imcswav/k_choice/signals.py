"""What two disjoint parts of a collection say about each number of clusters K.

Each part is clustered by itself: a merge tree over small clusters, cut at K and refined by k-means. A number of
clusters that is in the data is found again in the other part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from imcswav.clusterers import Array
from imcswav.k_choice.tree import cluster_means, merge_tree
from imcswav.metrics.acc import contingency, match

SIGNALS: Mapping[str, str] = {
    "stability": "ARI between k-means of two halves, over both (Lange et al. 2004; Hubert & Arabie 1985)",
    "silhouette": "mean silhouette within a half (Rousseeuw 1987)",
    "predictability": "accuracy with which neighbours in one half predict the clusters of the other, above chance",
    "worst_cluster": "pairs of the worst cluster that the other half keeps together (Tibshirani & Walther 2005)",
    "merge_tree": "gap between one merge and the next, ln (Ward 1963)",
}
"""Every signal, larger is better, with its source."""
ITERATIONS = 5
"""Most Lloyd iterations that refine a cut of the tree."""
NEIGHBOURS = 10
"""Images of the other half that vote on an image's cluster."""


def measure(first_NF: Array, second_NF: Array, counts_C: Sequence[int], small: int, seed: int) -> Array:
    """Every signal at every number of clusters, float64 (S, C); the same for the same seed.

    The halves have N images each; ``small`` is how many clusters their merge trees start from.
    """
    halves = first_NF, second_NF
    trees = [merge_tree(half_NF, small, seed) for half_NF in halves]
    distances_NN = np.sqrt(_squares(first_NF, first_NF))
    np.fill_diagonal(distances_NN, 0)  # rounding
    nearest_NV = np.argsort(_squares(second_NF, first_NF), axis=1, kind="stable")[:, :NEIGHBOURS]
    found_SC = np.zeros((len(SIGNALS), len(counts_C)))
    for place, clusters in enumerate(counts_C):
        cuts = [tree.cut(clusters) for tree in trees]
        centres = [
            refined(half_NF, cluster_means(half_NF, cut_N, clusters))
            for half_NF, cut_N in zip(halves, cuts, strict=True)
        ]
        by_first_N, by_second_N = (
            np.concatenate([nearest(half_NF, one_KF) for half_NF in halves]) for one_KF in centres
        )
        own_N = by_first_N[: len(first_NF)]
        found_SC[:, place] = (
            _ari(by_first_N, by_second_N),
            silhouette(distances_NN, own_N, clusters),
            corrected_accuracy(_voted(cuts[0][nearest_NV], clusters), cuts[1], clusters),
            worst_cluster(by_first_N[len(first_NF) :], by_second_N[len(first_NF) :], clusters),
            np.mean([tree.gap(clusters) for tree in trees]),
        )
    return found_SC


def refined(features_NF: Array, centres_KF: Array) -> Array:
    """Centres after Lloyd's iterations; one that no image is nearest to stays where it is."""
    for _ in range(ITERATIONS):
        labels_N = nearest(features_NF, centres_KF)
        used_K1 = np.bincount(labels_N, minlength=len(centres_KF))[:, None] > 0
        moved_KF = np.where(used_K1, cluster_means(features_NF, labels_N, len(centres_KF)), centres_KF)
        if np.array_equal(moved_KF, centres_KF):
            break
        centres_KF = moved_KF
    return centres_KF


def nearest(features_NF: Array, centres_KF: Array) -> Array:
    """The nearest centre of each image, (N,)."""
    # half the squared distance, but for the image's own length, which is the same for all centres
    labels_N: Array = ((centres_KF**2).sum(1) / 2 - features_NF @ centres_KF.T).argmin(1)
    return labels_N


def silhouette(distances_NN: Array, labels_N: Array, clusters: int) -> float:
    """Mean silhouette, in [−1, 1]; an image alone in its cluster counts 0. Source: Rousseeuw 1987."""
    rows_N = np.arange(len(labels_N))
    sizes_K = np.bincount(labels_N, minlength=clusters)
    sums_NK = distances_NN @ (labels_N[:, None] == np.arange(clusters)).astype(distances_NN.dtype)
    within_N = sums_NK[rows_N, labels_N] / np.maximum(sizes_K[labels_N] - 1, 1)
    means_NK = np.where(sizes_K > 0, sums_NK / np.maximum(sizes_K, 1), np.inf)
    means_NK[rows_N, labels_N] = np.inf
    beside_N = means_NK.min(1)
    known_N = (sizes_K[labels_N] > 1) & np.isfinite(beside_N)
    larger_N = np.maximum(np.maximum(within_N, beside_N), np.finfo(np.float32).tiny)
    difference_N = np.where(known_N, beside_N, 0) - np.where(known_N, within_N, 0)
    return float((difference_N / np.where(known_N, larger_N, 1)).mean())


def corrected_accuracy(predicted_N: Array, labels_N: Array, clusters: int) -> float:
    """Accuracy under the best matching of clusters, corrected for chance: 0 for independent labels, 1 for equal ones.

    (a − e) / (1 − e), where e is the accuracy that the shares of matched clusters give by chance (Cohen's κ, 1960). The
    matching itself lifts it a little above 0.
    """
    table_KK = contingency(predicted_N, labels_N, clusters, clusters) / len(labels_N)
    pairs = match(table_KK)
    accuracy = sum(table_KK[row, column] for row, column in pairs)
    chance = sum(table_KK[row].sum() * table_KK[:, column].sum() for row, column in pairs)
    return float((accuracy - chance) / (1 - chance)) if chance < 1 else 0.0


def worst_cluster(predicted_N: Array, labels_N: Array, clusters: int) -> float:
    """Prediction strength, in [0, 1]: the share of a cluster's pairs that the prediction keeps, least over clusters.

    Clusters of one image are left out. Source: Tibshirani & Walther 2005.
    """
    table_KK = contingency(predicted_N, labels_N, clusters, clusters).astype(np.float64)
    sizes_K = table_KK.sum(0)
    kept_K = (table_KK * (table_KK - 1)).sum(0)[sizes_K > 1] / (sizes_K * (sizes_K - 1))[sizes_K > 1]
    return float(kept_K.min()) if len(kept_K) else 0.0


def _voted(votes_NV: Array, clusters: int) -> Array:
    """The cluster most neighbours are in, the lowest number of several."""
    cells_NV = votes_NV + clusters * np.arange(len(votes_NV))[:, None]
    winner_N: Array = np.bincount(cells_NV.ravel(), minlength=len(votes_NV) * clusters).reshape(-1, clusters).argmax(1)
    return winner_N


def _squares(x_NF: Array, y_MF: Array) -> Array:
    """Squared distances (N, M)."""
    squares_NM = (x_NF**2).sum(1)[:, None] - 2 * x_NF @ y_MF.T + (y_MF**2).sum(1)
    return np.asarray(np.maximum(squares_NM, 0))


def _ari(first_N: Array, second_N: Array) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(first_N, second_N))
