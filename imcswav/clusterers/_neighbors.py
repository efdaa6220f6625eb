"""Nearest neighbours among all rows, and features averaged over them; exact, without a table of all pairs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imcswav.progress import stage

CHUNK = 2**24
"""Most numbers held at a time: 64 MiB in float32."""


@torch.no_grad()
def nearest(features_NF: Tensor, count: int) -> Tensor:
    """The ``count`` other rows least far (Euclidean) from each row, int64 (N, count), nearest first; N > count ≥ 1.

    A row is never its own neighbour; rows equal to it may be.
    """
    images = len(features_NF)
    squares_N = features_NF.square().sum(1)
    found_NJ = torch.empty(images, count, dtype=torch.int64, device=features_NF.device)
    size = max(1, CHUNK // images)
    with stage("Neighbours", total=images) as advance:
        for start in range(0, images, size):
            own = torch.arange(start, min(start + size, images), device=features_NF.device)
            # the row's own square is the same for all its candidates
            gaps_MN = torch.addmm(squares_N, features_NF[own], features_NF.T, alpha=-2)
            gaps_MN.scatter_(1, own.unsqueeze(1), math.inf)
            found_NJ[own] = gaps_MN.topk(count, largest=False).indices
            advance(len(own))
    return found_NJ


@torch.no_grad()
def smoothed(features_NF: Tensor, neighbors_NJ: Tensor) -> Tensor:
    """Each row's mean with its neighbours (N, F)."""
    result_NF = torch.empty_like(features_NF)
    count = neighbors_NJ.shape[1]
    size = max(1, CHUNK // (count * features_NF.shape[1]))
    for start in range(0, len(features_NF), size):
        rows = slice(start, start + size)
        result_NF[rows] = (features_NF[rows] + features_NF[neighbors_NJ[rows]].sum(1)) / (count + 1)
    return result_NF
