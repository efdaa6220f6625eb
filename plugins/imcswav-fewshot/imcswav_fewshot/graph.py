"""Each row's nearest other rows: the affinity W of the Laplacian term, binary and not symmetric."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 2**24
"""Most distances held at a time: 64 MiB in float32."""

Pull = Callable[[Tensor], Tensor]
"""Memberships z (E, N, K) → W z (E, N, K)."""


def nearest(x_ENF: Tensor, count: int) -> Tensor:
    """Indices (E, N, k) of the ``count`` nearest other rows, fewer where there are fewer."""
    size = x_ENF.shape[1]
    count = min(count, size - 1)
    step = max(1, CHUNK // (len(x_ENF) * size))
    found = []
    for start in range(0, size, step):
        rows_EMF = x_ENF[:, start : start + step]
        distances_EMN = torch.cdist(rows_EMF, x_ENF)
        itself_M = torch.arange(rows_EMF.shape[1])
        distances_EMN[:, itself_M, start + itself_M] = torch.inf
        found.append(distances_EMN.topk(count, dim=2, largest=False).indices)
    return torch.cat(found, 1)


def nearest_to(new_MF: Tensor, x_NF: Tensor, count: int) -> Tensor:
    """Indices (M, k) of the rows nearest to new ones; a row that is the same to the bit is taken for the image itself.

    So a row that is asked for again has the neighbours it had.
    """
    count = min(count, len(x_NF) - 1)
    found = []
    for rows_CF in new_MF.split(max(1, CHUNK // len(x_NF))):
        near_Ck = torch.cdist(rows_CF, x_NF).topk(count + 1, dim=1, largest=False).indices
        same_Ck = (x_NF[near_Ck] == rows_CF.unsqueeze(1)).all(2)
        same_Ck[:, -1] |= ~same_Ck.any(1)  # a new image: the farthest is one too many
        left_out_C = same_Ck.to(torch.uint8).argmax(1)
        kept_Ck = torch.arange(count + 1) != left_out_C.unsqueeze(1)
        found.append(near_Ck[kept_Ck].view(-1, count))
    return torch.cat(found)


def pull_of(neighbors_ENk: Tensor) -> Pull:
    """z → W z: each row's sum over its neighbours."""
    sets, rows, count = neighbors_ENk.shape
    flat_EX1 = neighbors_ENk.reshape(sets, -1, 1)

    def pull(z_ENK: Tensor) -> Tensor:
        width = z_ENK.shape[2]
        return z_ENK.gather(1, flat_EX1.expand(-1, -1, width)).view(sets, rows, count, width).sum(2)

    return pull


def bandwidth(x_ENF: Tensor, neighbors_ENk: Tensor) -> Tensor:
    """σ² = Σ_ij w_ij |x_i − x_j|² / (5 N), (E, 1, 1): the width of the modes, as in the authors' program."""
    sets, rows, _ = neighbors_ENk.shape
    total_E = x_ENF.new_zeros(sets)
    for column_EN in neighbors_ENk.unbind(2):  # one neighbour at a time: no (E, N, k, F)
        near_ENF = x_ENF.gather(1, column_EN.unsqueeze(2).expand(-1, -1, x_ENF.shape[2]))
        total_E += (x_ENF - near_ENF).square().sum((1, 2))
    return (total_E / (5 * rows)).clamp_min(1e-12).view(-1, 1, 1)
