"""A head of its own, trained on the corrected labels."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace
from typing import Literal, Self

import numpy as np

from imcswav.clusterers import Array, unit_rows
from imcswav.clustering import OUTLIER, Clustering
from imcswav.clustering.edits.operation import Edit, column, counted, products, rounded, softmax
from imcswav.errors import RunError
from imcswav.threads import one_blas_thread

BY_HAND = 10.0
"""How many images one that was set by hand counts as."""
ITERATIONS = 200
MOVES = 6
"""Moves from cluster to cluster that are named."""


class Refit(Edit):
    """Multinomial logistic regression on unit features, from the clusters that images are in; outliers are left out.

    The probabilities are its own from here on. Features are centred and scaled to a mean square length of 1 for the
    fit, whose penalty is scikit-learn's default (C = 1): weak enough to keep clusters, strong enough that single wrong
    labels don't make their own exceptions. Images set by hand count ten times and stay where they were set. A
    cluster without images gets none. A limit of outliers becomes the one that leaves out as many images as before: the
    head's probabilities are on another scale.
    """

    op: Literal["refit"] = "refit"
    clusters: tuple[int, ...] | None = None
    """The J clusters that have images, learnt as what follows is."""
    weights: tuple[tuple[float, ...], ...] | None = None
    """(J, F), for unit features."""
    bias: tuple[float, ...] | None = None
    """(J,)"""
    below: float = 0.0
    """The new limit of outliers, learnt: it leaves as many images out as the one before did."""
    fitted: int | None = None
    """Number of images."""

    @property
    def unlearnt(self) -> bool:
        """Whether it was never prepared."""
        return self.weights is None

    def prepared(self, now: Clustering, free: int) -> Self:
        """Fit the head; raises RunError where fewer than two clusters have images."""
        rows_M = np.flatnonzero(now.clusters_N != OUTLIER)
        clusters_M = now.clusters_N[rows_M]
        found = np.unique(clusters_M)
        if len(found) < 2:
            raise RunError("A head needs two clusters that have images; undo edits until there are two.")
        weight_N = np.ones(len(now))
        weight_N[list(now.given)] = BY_HAND
        weights_JF, bias_J = _fit(unit_rows(now.features_NF[rows_M]), clusters_M, weight_N[rows_M])
        changes = {
            "clusters": tuple(found.tolist()),
            "weights": rounded(weights_JF),
            "bias": rounded(bias_J),
            "fitted": len(rows_M),
        }
        ready = self.model_copy(update=changes)
        left_out = int((now.confidence_N < now.threshold).sum())
        if not left_out:
            return ready
        confidence_N = np.sort(ready.applied(now).confidence_N).astype(np.float64)
        # halfway, so that the last digits, which depend on how many images are embedded at once, decide nothing
        above = confidence_N[left_out] if left_out < len(now) else 1.0 + 2 * np.finfo(np.float32).eps
        return ready.model_copy(update={"below": float((confidence_N[left_out - 1] + above) / 2)})

    def applied(self, now: Clustering) -> Clustering:
        """Other probabilities, the same clusters."""
        assert self.clusters is not None, "an edit is prepared before it is applied"
        logits_NJ = products(now, self.weights) + np.asarray(self.bias, np.float32)
        probabilities_NK = np.zeros((len(logits_NJ), len(now.ids)), np.float32)
        probabilities_NK[:, [column(now, cluster) for cluster in self.clusters]] = softmax(logits_NJ)
        return replace(now, probabilities_NK=probabilities_NK, threshold=self.below)

    def told(self, before: Clustering, after: Clustering) -> str:
        """How many images changed cluster, and from where to where."""
        from sklearn.metrics import adjusted_rand_score

        old_N, new_N = before.clusters_N, after.clusters_N
        pairs = zip(old_N[old_N != new_N].tolist(), new_N[old_N != new_N].tolist(), strict=True)
        moves = Counter(pairs)
        named = [f"{before.title(a)} → {after.title(b)}: {count:,}" for (a, b), count in moves.most_common(MOVES)]
        rest = moves.total() - sum(count for _, count in moves.most_common(MOVES))
        return (
            f"A head was fitted on {counted(self.fitted or 0)}: {moves.total():,} of {len(after):,} changed cluster "
            f"(ARI of before and after {adjusted_rand_score(old_N, new_N):.4f})."
            + (f" {'; '.join(named)}" + (f"; other moves: {rest:,}" if rest else "") + "." if moves else "")
        )

    def command(self) -> str:
        """As on the command line."""
        return "refit"


def _fit(unit_MF: Array, clusters_M: Array, weight_M: Array) -> tuple[Array, Array]:
    """Weights (J, F) and bias (J,) for unit features: the centring and scaling of the fit are within them."""
    from sklearn.linear_model import LogisticRegression

    mean_F = unit_MF.mean(0)
    centred_MF = unit_MF - mean_F
    scale = max(float(np.sqrt(np.square(centred_MF).sum(1).mean())), float(np.finfo(np.float32).eps))
    classifier = LogisticRegression(max_iter=ITERATIONS)
    with warnings.catch_warnings(), one_blas_thread(unit_MF.size):
        warnings.simplefilter("ignore")  # that it hasn't converged after as many iterations changes little
        classifier.fit(centred_MF / scale, clusters_M, weight_M)
    weights_JF, bias_J = classifier.coef_ / scale, classifier.intercept_
    if len(weights_JF) == 1:  # of two clusters scikit-learn keeps the second's logit over the first's
        weights_JF, bias_J = np.concatenate([0 * weights_JF, weights_JF]), np.concatenate([0 * bias_J, bias_J])
    return weights_JF, bias_J - weights_JF @ mean_F
