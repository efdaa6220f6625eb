"""Signals: what can be said about a finished run's clusters without labels, to choose among runs.

They read the features and cluster probabilities of the scored images and the losses that were logged; nothing here is
ever handed a label. None of them is accuracy: each has a way of being high for clusters that are worth nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from imcswav.clusterers import Array, unit_rows
from imcswav.metrics.knn import neighbours
from imcswav.threads import one_blas_thread

SAMPLE = 5_000
"""Most images that a signal is computed on: always the same ones, so that runs on the same images can be compared."""
NEIGHBOURS = 20
FOLDS = 5
STARTS = 10
"""Starts of k-means."""
ITERATIONS = 200
"""Most iterations of the linear classifier."""
OF_RUN = (
    "predictability", "neighbour_agreement", "kmeans_agreement", "silhouette", "confidence", "effective_clusters",
)  # fmt: skip
OF_HEADS = ("head_agreement",)
"""What only runs with several copies of the head that assigns have."""
OF_SERIES = ("seed_agreement", "seed_agreement_nmi")
"""What only runs with several seeds have, see ``imcswav.results.kept``."""


@one_blas_thread()
def measure(
    features_NF: Tensor,
    probabilities_NK: Array | None,
    logged: Mapping[str, float],
    *,
    clusters: int,
    seed: int,
    copies_nE: Array | None = None,
) -> dict[str, float]:
    """Every signal that can be had, by name; ``logged`` is the last log, ``clusters`` K, ``seed`` the recipe's.

    ``copies_nE`` are the clusters of the ``sample`` by each copy of the head that assigns, the used one first.

    Left out is what has no meaning: all but the losses where nothing assigns or features aren't finite, neighbours
    where there are too few images, and most where one cluster has them all.
    """
    found: dict[str, float | None] = dict(losses(logged))
    if probabilities_NK is not None and bool(torch.isfinite(features_NF).all()):
        clusters_N = np.asarray(probabilities_NK.argmax(1))
        rows_n = sample(len(clusters_N))
        some_nF = features_NF[torch.from_numpy(rows_n).to(features_NF.device)].cpu().numpy()
        clusters_n = clusters_N[rows_n]
        found |= {
            "predictability": predictability(some_nF, clusters_n),
            "neighbour_agreement": neighbour_agreement(features_NF, clusters_N, rows_n),
            "kmeans_agreement": kmeans_agreement(some_nF, clusters_n, clusters, seed),
            "silhouette": silhouette(some_nF, clusters_n),
            "confidence": confidence(probabilities_NK),
            "effective_clusters": effective_clusters(clusters_N),
        }
    if copies_nE is not None:
        found["head_agreement"] = head_agreement(copies_nE)
    return {name: round(value, 6) for name, value in found.items() if value is not None and math.isfinite(value)}


def larger_is_better(name: str) -> bool:
    """Direction of a signal: losses are better small, all others large."""
    return name != "loss" and not name.startswith("loss/")


def sample(images: int) -> Array:
    """The rows (n,) that signals are computed on, ascending: all, or the same SAMPLE of them whatever the seed."""
    return np.sort(np.random.default_rng(0).permutation(images)[:SAMPLE])


def losses(logged: Mapping[str, float]) -> dict[str, float]:
    """The total ``loss`` and each ``loss/<name>``, the mean of the last interval of logging; smaller is better.

    Only runs with the same losses, weights and views can be compared by it.
    """
    return {name: value for name, value in logged.items() if not larger_is_better(name)}


def effective_clusters(clusters_N: Array) -> float:
    """exp of the entropy of the clusters' shares, in [1, K]: K clusters of one size have K, one that has all has 1.

    Larger is more even, which is better only where classes are even too. Source: perplexity, Hill number of order 1
    (Hill 1973).
    """
    shares_K = np.unique(clusters_N, return_counts=True)[1] / len(clusters_N)
    return float(np.exp(-(shares_K * np.log(shares_K)).sum()))


def confidence(probabilities_NK: Array) -> float:
    """Mean over images of the largest probability, in [1/K, 1]; larger is surer.

    An entropy term in the loss, or a clusterer's scale, sets it as well, so it compares runs of one recipe only.
    """
    return float(probabilities_NK.max(1).mean(dtype=np.float64))


def predictability(features_NF: Array, clusters_N: Array) -> float | None:
    """Share of images whose cluster a linear classifier predicts that was fitted without them, in [0, 1].

    Larger is better. Logistic regression on standardised features, five folds. None for one cluster or fewer images
    than folds. Few large clusters are easy to predict: compare runs that use as many. Source: a labelling is good when
    linear classifiers generalise on it, HUME and TURTLE (Gadetsky & Brbić 2023; Gadetsky, Jiang & Brbić 2024).
    """
    if len(np.unique(clusters_N)) < 2 or len(clusters_N) < FOLDS:
        return None
    from sklearn.model_selection import KFold  # a second to import

    folds = KFold(FOLDS, shuffle=True, random_state=0).split(features_NF)
    return sum(_right(features_NF, clusters_N, fitted, asked) for fitted, asked in folds) / len(clusters_N)


def _right(features_NF: Array, clusters_N: Array, fitted: Array, asked: Array) -> int:
    """How many of the images ``asked`` a classifier of those ``fitted`` gets right."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(clusters_N[fitted])) < 2:  # nothing to tell apart
        return int((clusters_N[asked] == clusters_N[fitted][0]).sum())
    scale = StandardScaler().fit(features_NF[fitted].astype(np.float64))
    classifier = LogisticRegression(max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it hasn't converged after as many iterations changes little
        classifier.fit(scale.transform(features_NF[fitted]), clusters_N[fitted])
    return int((classifier.predict(scale.transform(features_NF[asked])) == clusters_N[asked]).sum())


def neighbour_agreement(features_NF: Tensor, clusters_N: Array, rows_n: Array) -> float | None:
    """Share of an image's 20 nearest neighbours (cosine) that are in its cluster, mean over ``rows_n``, in [0, 1].

    Larger is better. Neighbours are sought among all N images, the image itself left out. None for one cluster or no
    more than 20 images. It depends on the features' neighbourhoods alone and doesn't see classes that lie apart but
    share a cluster. Source: neighbours share a class, SCAN (Van Gansbeke et al. 2020).
    """
    if len(np.unique(clusters_N)) < 2 or len(clusters_N) <= NEIGHBOURS:
        return None
    rows = torch.from_numpy(rows_n)
    cluster_N = torch.from_numpy(clusters_N).to(features_NF.device)
    own_n = cluster_N[rows.to(features_NF.device)]
    near = neighbours(features_NF[rows.to(features_NF.device)], features_NF, NEIGHBOURS, rows)
    near_nk = torch.cat(list(near))
    return float((cluster_N[near_nk] == own_n[:, None]).cpu().double().mean())


def kmeans_agreement(features_NF: Array, clusters_N: Array, clusters: int, seed: int) -> float | None:
    """ARI between the clusters and those of k-means on the unit-length features, same K, in [−0.5, 1].

    Larger says that two ways of clustering the features find the same; 0 is chance. None for one cluster, or fewer
    images than ``clusters``. Of a run whose clusterer is k-means it says only that k-means repeats. Source: ARI, Hubert
    & Arabie 1985.
    """
    if len(features_NF) < clusters or len(np.unique(clusters_N)) < 2:
        return None
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    estimator = KMeans(clusters, n_init=STARTS, random_state=seed % 2**32)  # scikit-learn takes 32 bits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct features than clusters: some stay empty
        return float(adjusted_rand_score(estimator.fit_predict(unit_rows(features_NF)), clusters_N))


def head_agreement(copies_nE: Array) -> float | None:
    """Mean ARI of the clusters of the first copy of a head, the used one, with each other copy's, in [−0.5, 1].

    Larger says that heads which started elsewhere find the same on the same features. They share mistakes that lie in
    the features. None for a lone copy, or where the first has one cluster. Source: stability of clusterings (Lange et
    al. 2004), here over heads.
    """
    if copies_nE.shape[1] < 2 or len(np.unique(copies_nE[:, 0])) < 2:
        return None
    from sklearn.metrics import adjusted_rand_score

    used_n, *others = copies_nE.T
    return float(np.mean([adjusted_rand_score(used_n, other_n) for other_n in others]))


def silhouette(features_NF: Array, clusters_N: Array) -> float | None:
    """Mean silhouette with cosine distance, in [−1, 1]; larger says tighter clusters that lie further apart.

    None for one cluster, or where every image has its own. Source: Rousseeuw 1987.
    """
    if not 2 <= len(np.unique(clusters_N)) < len(clusters_N):
        return None
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(features_NF, clusters_N, metric="cosine"))
