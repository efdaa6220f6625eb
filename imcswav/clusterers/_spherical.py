"""Spherical k-means: k-means of directions (Dhillon & Modha 2001; Hornik et al. 2012), on any device.

Maximises the mean cosine between each row and the centre of its cluster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from torch import Tensor

from imcswav.errors import DataError

CHUNK = 2**24
"""Most cosines held at a time: 64 MiB in float32."""
ROUNDS = 32
"""Most rounds of drawing first centres."""
ORDERED = ("cpu",)
"""Devices on which index_add_ adds in the same order every time."""
SAME = 1e-6
"""Dissimilarity 1 − cos below which two directions are taken for one."""


class Clustering(NamedTuple):
    """What ``spherical_kmeans`` finds; all on the features' device."""

    labels_N: Tensor
    """int64, 0 … K−1."""
    centres_KF: Tensor
    """Rows of length 1."""
    objective: Tensor
    """Mean cosine between the rows and their centres, a scalar; the larger the better."""


@torch.no_grad()
def spherical_kmeans(
    features_NF: Tensor,
    clusters: int,
    *,
    seed: int,
    starts: int = 1,
    iterations: int = 100,
    tolerance: float = 0.0,
    also_KF: Tensor | None = None,
) -> Clustering:
    """The best of several starts of spherical k-means; the same for the same seed on the same device.

    ``also_KF`` are the centres of one more start, such as those of an earlier clustering. A start ends after
    ``iterations``, or when at most the share ``tolerance`` of the rows change cluster: the host waits for the device
    once an iteration. At least float32, autocast or not; the rows' lengths don't matter. Centres no row is nearest to
    move to the rows that fit worst; where there are more clusters than distinct directions, the rest stay empty. Rows
    of zeros have no direction: they go to cluster 0 and move no centre.

    Raises DataError for fewer rows than clusters, for NaN and infinity, and for what isn't a table.
    """
    x_NF = _unit(_checked(features_NF, clusters))
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same draws on every device
    best: Clustering | None = None
    with torch.autocast(x_NF.device.type, enabled=False):
        drawn = (_first_centres(x_NF, clusters, generator) for _ in range(starts))
        for centres_KF in chain([] if also_KF is None else [_unit(also_KF.to(x_NF))], drawn):
            found = _refine(x_NF, centres_KF, iterations, tolerance)
            if best is None or bool(found.objective > best.objective):
                best = found
    assert best is not None, "starts must be at least 1"
    return best


@torch.no_grad()
def memberships(features_NF: Tensor, centres_KF: Tensor, temperature: float) -> Tensor:
    """softmax(cos / temperature) (N, K); the nearest centre is the most likely."""
    with torch.autocast(features_NF.device.type, enabled=False):
        cosines_NK = _unit(features_NF.to(centres_KF.dtype)) @ centres_KF.T
    return cosines_NK.div_(temperature).softmax(1)


def _checked(features_NF: Tensor, clusters: int) -> Tensor:
    if features_NF.ndim != 2:
        raise DataError(f"Features must be a table (images, features), not of shape {tuple(features_NF.shape)}.")
    if not 1 <= clusters <= len(features_NF):
        raise DataError(
            f"{len(features_NF)} images can't be split into {clusters} clusters; give at least 1 cluster and as many "
            f"images as clusters."
        )
    if not bool(features_NF.isfinite().all()):
        raise DataError("Some features are NaN or infinity; leave those images out, or lower the learning rate.")
    return features_NF.to(torch.promote_types(features_NF.dtype, torch.float32))


def _unit(x_NF: Tensor) -> Tensor:
    """Rows of length 1; zeros stay. First by the largest entry, lest squares under- or overflow."""
    tiny = torch.finfo(x_NF.dtype).tiny
    x_NF = x_NF / x_NF.abs().amax(1, keepdim=True).clamp_min(tiny)
    return F.normalize(x_NF, dim=1, eps=tiny)


def _first_centres(x_NF: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Greedy k-means++ (Arthur & Vassilvitskii 2007) that adds several centres a round, so that few rounds do.

    A row is drawn by its gap to the nearest centre so far, without replacement: the rows of largest gap over an
    exponential number. Each new centre is the best of its own 2 + log K draws. Up to ``ROUNDS`` centres come one
    by one, as published.
    """
    gaps_N = x_NF.any(1).to(x_NF.dtype)  # rows of zeros are drawn last
    centres_KF = x_NF.new_empty(clusters, x_NF.shape[1])
    rounds = min(ROUNDS, clusters)
    for start, stop in pairwise(round(i * clusters / rounds) for i in range(rounds + 1)):
        draws_N = torch.empty(len(x_NF)).exponential_(generator=generator).clamp_min_(1e-30)
        trials = min(2 + int(math.log(clusters)), len(x_NF) // (stop - start))
        tried_T = (gaps_N / draws_N.to(x_NF)).topk(trials * (stop - start)).indices
        gains_T = torch.zeros(len(tried_T), dtype=x_NF.dtype, device=x_NF.device)
        for rows in _chunks(len(x_NF), len(tried_T)):
            gains_T += (gaps_N[rows].unsqueeze(1) - _gaps(x_NF[rows], x_NF[tried_T])).relu_().sum(0)
        best_C = gains_T.view(trials, -1).argmax(0)
        centres_KF[start:stop] = x_NF[tried_T.view(trials, -1).gather(0, best_C.unsqueeze(0)).squeeze(0)]
        for rows in _chunks(len(x_NF), stop - start):
            gaps_N[rows] = gaps_N[rows].minimum(_gaps(x_NF[rows], centres_KF[start:stop]).amin(1))
    # where only rows of zeros were left to draw, the first centre again: of two alike the later stays empty
    return torch.where(centres_KF.any(1, keepdim=True), centres_KF, centres_KF[:1])


def _gaps(x_MF: Tensor, centres_CF: Tensor) -> Tensor:
    """1 − cos (M, C), exactly 0 for the same direction."""
    gaps_MC = 1 - x_MF @ centres_CF.T
    return gaps_MC.masked_fill_(gaps_MC < SAME, 0.0)


class _Assigned(NamedTuple):
    labels_N: Tensor
    """Nearest centre."""
    cosines_N: Tensor
    """With that centre."""
    sums_KF: Tensor
    """Of the rows of each cluster."""


def _refine(x_NF: Tensor, centres_KF: Tensor, iterations: int, tolerance: float) -> Clustering:
    """Lloyd's iterations; labels and objective belong to the centres that are returned."""
    known_N = x_NF.any(1)
    found = _assign(x_NF, centres_KF)
    for _ in range(iterations):
        centres_KF = _moved(x_NF, known_N, centres_KF, found)
        before_N, found = found.labels_N, _assign(x_NF, centres_KF)
        if int((found.labels_N != before_N).sum()) <= tolerance * len(x_NF):
            break
    return Clustering(found.labels_N, centres_KF, found.cosines_N.mean())


def _assign(x_NF: Tensor, centres_KF: Tensor) -> _Assigned:
    labels_N = torch.empty(len(x_NF), dtype=torch.int64, device=x_NF.device)
    cosines_N, sums_KF = x_NF.new_empty(len(x_NF)), torch.zeros_like(centres_KF)
    for rows in _chunks(len(x_NF), len(centres_KF)):
        x_MF = x_NF[rows]
        cosines_MK = x_MF @ centres_KF.T
        torch.max(cosines_MK, 1, out=(cosines_N[rows], labels_N[rows]))
        if x_NF.device.type in ORDERED:
            sums_KF.index_add_(0, labels_N[rows], x_MF)
        else:  # a product repeats to the bit
            chosen_MK = cosines_MK.zero_().scatter_(1, labels_N[rows].unsqueeze(1), 1.0)
            sums_KF.addmm_(chosen_MK.T, x_MF)
    return _Assigned(labels_N, cosines_N, sums_KF)


def _moved(x_NF: Tensor, known_N: Tensor, centres_KF: Tensor, found: _Assigned) -> Tensor:
    """The directions of the sums. A centre without rows goes to one of the rows that fit worst, unless all fit.

    The device isn't asked how many such centres there are: the k-th of them takes the k-th worst row.
    """
    counts_K = torch.zeros(len(centres_KF), dtype=torch.int64, device=x_NF.device)
    empty_K = counts_K.index_add_(0, found.labels_N, known_N.to(torch.int64)) == 0
    gaps_K, worst_K = torch.where(known_N, 1 - found.cosines_N, 0.0).topk(len(centres_KF))
    place_K = empty_K.cumsum(0).sub_(1).clamp_min_(0)
    taken_K = empty_K & (gaps_K[place_K] > SAME)
    lengths_K = found.sums_KF.norm(dim=1)
    means_KF = found.sums_KF / lengths_K.clamp_min(SAME).unsqueeze(1)
    # rows that cancel out have no direction: their centre stays, as do centres that stay empty
    means_KF = torch.where((lengths_K > SAME).unsqueeze(1), means_KF, centres_KF)
    return torch.where(taken_K.unsqueeze(1), x_NF[worst_K[place_K]], means_KF)


def _chunks(rows: int, columns: int) -> Iterator[slice]:
    size = max(1, CHUNK // columns)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
