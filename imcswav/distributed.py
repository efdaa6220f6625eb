"""The one place that asks about ranks, and the home of every reduction over a batch.

One process today: the reductions are sums over its own batch. Losses and solvers call these and nothing else,
so that many processes need a change in this file alone.
"""

from __future__ import annotations

from torch import Tensor


def rank() -> int:
    """This process's number, from 0."""
    return 0


def world_size() -> int:
    """How many processes train together."""
    return 1


def shard(index_B: Tensor, rank: int, world: int) -> Tensor:
    """This rank's share of a global batch."""
    return index_B[rank::world]


def batch_sum(x: Tensor) -> Tensor:
    """Sum over all ranks of a tensor that is already summed over this rank's images; differentiable."""
    return x


def batch_max(x: Tensor) -> Tensor:
    """Entrywise largest over all ranks of a tensor already maximised over this rank's images; no gradient."""
    return x


def batch_size(local: int) -> int:
    """Images in the global batch, given this rank's."""
    return local * world_size()
