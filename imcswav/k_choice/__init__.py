"""The number of clusters K without labels: several signals over a range of K, a recommendation, and its spread.

Each signal is measured on pairs of disjoint halves of a sample, several times, and again on made-up images without
clusters: draws of one Gaussian of the same covariance. What a signal is above that is its *excess*. Without it a signal
would tell of K what it does for any data: that two halves agree on two clusters more easily than on twenty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imcswav.clusterers import Array
from imcswav.errors import DataError
from imcswav.k_choice.sentence import sentence
from imcswav.k_choice.signals import SIGNALS, measure
from imcswav.progress import Advance, stage
from imcswav.threads import one_blas_thread

SAMPLE = 5_000
"""Most images that are looked at."""
HALF = 1_000
"""Most images in a half."""
WIDTH = 64
"""Features beyond this many are reduced to as many principal components."""
REPEATS = 8
"""Pairs of halves."""
NULLS = 6
"""Pairs of halves of made-up images without clusters."""
IMAGES_A_CLUSTER = 5
"""Images in a half for each cluster, at least: bounds the largest K that is looked at."""
LARGEST = HALF // IMAGES_A_CLUSTER
"""Most clusters that are looked for."""
SMALL = 3
"""Small clusters that a merge tree starts from, for each cluster of the largest K."""
CLEAR = 2.0
"""A signal counts where its largest excess is at least so many standard deviations of a single pair of halves."""
FAR = 3.0
"""Standard deviations below its best from which on a signal finds a K as bad as any other."""
ENOUGH = 3
"""Signals that must count for a K to be called clear."""


@dataclass(frozen=True)
class Curve:
    """One signal over the numbers of clusters that were looked at; arrays are (C,), large values are better."""

    mean_C: Array
    """Over pairs of halves."""
    std_C: Array
    """Standard deviation over pairs of halves."""
    null_C: Array
    """Mean of the same signal on images without clusters."""
    clearness: float
    """Largest excess over the standard deviation of one pair of halves, there or over all K, whichever is larger."""
    k: int
    """The K of the largest excess: what the signal would recommend by itself."""

    @property
    def excess_C(self) -> Array:
        """What the signal is above that of images without clusters."""
        return np.asarray(self.mean_C - self.null_C)

    @property
    def counts(self) -> bool:
        """Whether the signal is clear enough to have a say."""
        return self.clearness >= CLEAR


@dataclass(frozen=True)
class KChoice:
    """A recommended number of clusters and what speaks for it."""

    k: int
    """The recommendation: the largest ``score_C``."""
    spread: tuple[int, int]
    """10th and 90th percentile of what single pairs of halves recommend."""
    clear: bool
    """False where too few signals tell the images from a single group: then ``k`` is worth little."""
    counts: tuple[int, ...]
    """The C numbers of clusters that were looked at."""
    score_C: Array
    """1 where every signal that counts is at its best, 0 where all are far below; see ``choose_k``."""
    curves: Mapping[str, Curve]
    """By signal."""
    images: int
    """Images that were looked at."""
    sentence: str
    """The recommendation, its spread, and who agrees or doesn't, for people."""


@one_blas_thread()
def choose_k(features_NF: Array, low: int = 2, high: int = 50, seed: int = 0) -> KChoice:
    """Recommend how many clusters between ``low`` and ``high`` the features (N, F) have; the same for the same seed.

    Rule: each signal says by how many standard deviations of a single pair of halves its excess at K is below its
    largest, at most ``FAR``; recommended is the K of the least mean over the signals that count, the smaller of equals.
    Signals: ``imcswav.k_choice.signals.SIGNALS``.

    ``high`` comes down where there are too few images, or too few that differ, for so many clusters. Raises DataError
    for features that are no table, not finite or all alike, for too few images, and for a range that isn't one.
    """
    if not 2 <= low <= high:
        raise DataError(
            f"The range of clusters {low}-{high} can't be searched; give two numbers from 2 on, such as 2-50."
        )
    rng = np.random.default_rng(seed)
    x_NF, distinct = _prepared(features_NF, rng)
    half = min(len(x_NF) // 2, HALF)
    most = min(high, half // IMAGES_A_CLUSTER, distinct)
    if most < low:
        raise DataError(_too_few(low, len(x_NF), distinct))
    counts = tuple(range(low, most + 1))
    small = min(SMALL * most, half // 2)

    def measured(images_NF: Array, advance: Advance) -> Array:
        rows_N = rng.permutation(len(images_NF))
        first_NF, second_NF = images_NF[rows_N[:half]], images_NF[rows_N[half : 2 * half]]
        found_SC = measure(first_NF, second_NF, counts, small, int(rng.integers(2**31)))
        advance()
        return found_SC

    with stage("Comparing numbers of clusters", total=REPEATS + NULLS) as advance:
        found_RSC = np.stack([measured(x_NF, advance) for _ in range(REPEATS)])
        null_RSC = np.stack([measured(_without_clusters(x_NF, rng), advance) for _ in range(NULLS)])
    return _combined(found_RSC, null_RSC, counts, len(x_NF), high)


def _prepared(features_NF: Array, rng: np.random.Generator) -> tuple[Array, int]:
    """A sample along its principal axes, of total variance 1, float32; and how many of its rows differ."""
    features_NF = np.asarray(features_NF)
    if features_NF.ndim != 2 or features_NF.shape[1] < 1:
        raise DataError(f"Features must be a table (images, features), not of shape {features_NF.shape}.")
    if features_NF.dtype.kind not in "fiu":
        raise DataError(f"Features must be numbers, not of type {features_NF.dtype}.")
    bad = int((~np.isfinite(features_NF).all(1)).sum())
    if bad:
        raise DataError(f"The features of {bad} of {len(features_NF)} images hold NaN or infinity; leave those out.")
    rows_N = np.sort(rng.permutation(len(features_NF))[:SAMPLE])
    x_NF = features_NF[rows_N].astype(np.float64)
    distinct = len(np.unique(x_NF, axis=0))
    if distinct < 2:
        raise DataError(f"All {len(x_NF)} images have the same features, so there is nothing to cluster.")
    x_NF = x_NF / np.abs(x_NF).max()  # lest squares overflow
    x_NF -= x_NF.mean(0)
    _, lengths_P, axes_PF = np.linalg.svd(x_NF, full_matrices=False)
    x_NP = x_NF @ axes_PF[:WIDTH].T
    return (x_NP / np.sqrt((lengths_P**2).mean())).astype(np.float32), distinct


def _too_few(low: int, images: int, distinct: int) -> str:
    """Why not even ``low`` clusters can be looked for."""
    if low > LARGEST:
        return f"More than {LARGEST} clusters can't be looked for, in halves of {HALF} images; give a lower --range."
    if distinct < low:
        there = f"Only {distinct} of the {images} images have features of their own"
        return f"{there}, too few to look for {low} clusters; give more that differ, or a lower --range."
    need = 2 * IMAGES_A_CLUSTER * low
    lower = ", or a lower --range" if low > 2 else ""
    return f"{images} images are too few to look for {low} clusters or more; give {need} or more{lower}."


def _without_clusters(x_NP: Array, rng: np.random.Generator) -> Array:
    """As many draws of one Gaussian of the same covariance; the axes are the principal ones already."""
    return np.asarray((rng.normal(size=x_NP.shape) * x_NP.std(0)).astype(np.float32))


def _combined(found_RSC: Array, null_RSC: Array, counts: tuple[int, ...], images: int, high: int) -> KChoice:
    mean_SC, null_SC = found_RSC.mean(0), null_RSC.mean(0)
    excess_SC, variance_SC = mean_SC - null_SC, found_RSC.var(0, ddof=1) + null_RSC.var(0, ddof=1)
    # few repeats make a variance by luck small, so at least that over all K
    least_S1 = np.maximum(variance_SC.mean(1, keepdims=True), np.finfo(np.float32).eps ** 2)
    noise_SC = np.sqrt(np.maximum(variance_SC, least_S1))
    best_S = excess_SC.argmax(1)
    clearness_S = (excess_SC / noise_SC)[np.arange(len(SIGNALS)), best_S]
    curves = {
        name: Curve(mean_SC[s], found_RSC[:, s].std(0, ddof=1), null_SC[s], float(clearness_S[s]), counts[best_S[s]])
        for s, name in enumerate(SIGNALS)
    }
    counted_S = clearness_S >= CLEAR
    clear = int(counted_S.sum()) >= ENOUGH
    if not counted_S.any():
        counted_S[:] = True
    score_C = _score(excess_SC[counted_S], noise_SC[counted_S])
    singly = [_score(one_SC[counted_S], noise_SC[counted_S]) for one_SC in found_RSC - null_SC]
    alone_R = np.array([counts[one_C.argmax()] for one_C in singly])
    low, high_spread = np.percentile(alone_R, (10, 90), method="nearest").tolist()
    k = counts[score_C.argmax()]
    spread = (min(low, k), max(high_spread, k))
    said = sentence(
        k, spread, clear, {name: (curve.k, curve.counts) for name, curve in curves.items()}, counts, high, LARGEST
    )
    return KChoice(k, spread, clear, counts, score_C, curves, images, said)


def _score(excess_SC: Array, noise_SC: Array) -> Array:
    """1 minus the mean over signals of how far each is below its best, as a share of ``FAR`` standard deviations."""
    below_SC = (excess_SC.max(1, keepdims=True) - excess_SC) / noise_SC
    return np.asarray(1 - np.minimum(below_SC / FAR, 1).mean(0))
