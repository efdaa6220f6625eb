"""Activations recomputed in the backward pass instead of kept: memory for about a third more operations.

Batch-norm statistics are computed anew but counted once, and the layers see the views that they saw the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from imcswav.batchnorm import resting_statistics, views_in_batch, views_of


def recomputed(module: nn.Module, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """``function`` of ``module``, its activations recomputed when the gradient needs them (Chen et al., 1604.06174)."""
    if not (torch.is_grad_enabled() and module.training):
        return function(*arguments, **keywords)
    views = views_of(module)  # by the time of the backward pass the module may have moved on to other crops

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _once_more(module, views)

    return checkpoint(function, *arguments, use_reentrant=False, context_fn=contexts, **keywords)


@contextmanager
def _once_more(module: nn.Module, views: int) -> Iterator[None]:
    with views_in_batch(module, views), resting_statistics(module):
        yield


def in_pieces(module: nn.Module, function: Callable[[Tensor], Tensor], pieces: Iterable[Tensor]) -> Tensor:
    """``function`` of one piece after the other, of which one's activations exist at any moment.

    The result has the rows of all, so that codes and losses see the whole batch, and its gradient is exact (gradient
    caching, Gao et al., 2101.06983). Batch norm sees a piece.
    """
    return torch.cat([recomputed(module, function, piece) for piece in pieces])


class Recomputed:
    """Mixin over a block of a network."""

    def forward(self: Any, *arguments: Any, **keywords: Any) -> Any:
        """As the block's own."""
        return recomputed(self, super().forward, *arguments, **keywords)  # type: ignore[misc]


@cache
def _recomputed_class(cls: Any) -> Any:
    return type(f"Recomputed{cls.__name__}", (Recomputed, cls), {})


def recompute_blocks(blocks: Iterable[nn.Module]) -> None:
    """Let each block recompute its activations, in place; names of weights stay."""
    for block in blocks:
        cls: Any = type(block)
        block.__class__ = _recomputed_class(cls)
