"""Batches through one network side by side, each on a CUDA stream of its own.

A GPU then runs the small kernels of one beside the large ones of another. All passes change the running statistics of
batch norm, and they must do so one after another: each leaves its own aside until they have met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from imcswav.batchnorm import PerView

Slot = tuple[Any, str]
"""A layer, and the name of a running statistic of it."""


class SideBySide:
    """Runs ``function(batch)`` on several batches at once; everywhere but on CUDA one after another.

    ``module`` is the network that the function passes them through, and all that is shared between the passes.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._streams: list[torch.cuda.Stream] = []
        self._aside: list[Aside] = []

    def __call__(self, function: Callable[[Tensor], Tensor], batches_VBCHW: Sequence[Tensor]) -> list[Tensor]:
        """The function's results; gradients and running statistics are those of one call after another."""
        while len(self._aside) < len(batches_VBCHW):
            self._aside.append(Aside(self._module))
        if batches_VBCHW[0].is_cuda:
            results = self._on_streams(function, batches_VBCHW)
        else:
            results = [self._pass(function, batch, number) for number, batch in enumerate(batches_VBCHW)]
        for aside, batch in zip(self._aside, batches_VBCHW, strict=False):
            aside.add(views=len(batch))
        return results

    def _pass(self, function: Callable[[Tensor], Tensor], batch: Tensor, number: int) -> Tensor:
        with self._aside[number].within():
            return function(batch)

    def _on_streams(self, function: Callable[[Tensor], Tensor], batches: Sequence[Tensor]) -> list[Tensor]:
        """The first on the current stream. Autograd runs each backward pass on the stream of its forward pass."""
        current = torch.cuda.current_stream(batches[0].device)
        while len(self._streams) < len(batches) - 1:
            self._streams.append(torch.cuda.Stream(batches[0].device))
            _shared_weights_are_meant()
        start = current.record_event()
        others = []
        for number, (stream, batch) in enumerate(zip(self._streams, batches[1:], strict=False), 1):
            stream.wait_event(start)
            batch.record_stream(stream)  # lest its memory be given away while the other stream still reads it
            with torch.cuda.stream(stream):
                others.append(self._pass(function, batch, number))
        results = [self._pass(function, batches[0], 0), *others]
        for stream, result in zip(self._streams, others, strict=False):
            current.wait_stream(stream)
            result.record_stream(current)
        return results


class Aside:
    """What a pass through a network does to its running statistics, kept apart until it is added to them."""

    def __init__(self, module: nn.Module) -> None:
        layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
        self._averages: list[Slot] = [(layer, name) for layer in layers for name in ("running_mean", "running_var")]
        self._counts: list[Slot] = [(layer, "num_batches_tracked") for layer in layers]
        self._own = {slot: torch.zeros_like(getattr(*slot)) for slot in (*self._averages, *self._counts)}

    @contextmanager
    def within(self) -> Iterator[None]:
        """Within, the layers' running statistics begin at zero and are kept here."""
        for slots in self._kinds():
            torch._foreach_zero_([self._own[slot] for slot in slots])
        kept = {slot: getattr(*slot) for slot in self._own}
        try:
            _put(self._own)
            yield
        finally:
            _put(kept)

    @torch.no_grad()
    def add(self, views: int) -> None:
        """Change the layers' running statistics as the pass of so many views would have, had it come now.

        An update is linear in them: running ← (1 − momentum) · running + momentum · found, once for each view, or once
        for all that are pooled.
        """
        for slots in self._kinds():
            running = [getattr(*slot) for slot in slots]
            if slots is self._averages:
                torch._foreach_mul_(running, [_keep(layer, views) for layer, _ in slots])
            torch._foreach_add_(running, [self._own[slot] for slot in slots])

    def _kinds(self) -> list[list[Slot]]:
        """What goes into one launch each: averages and counts, where the network has any."""
        return [self._averages, self._counts] if self._own else []


def _shared_weights_are_meant() -> None:
    """Autograd adds up the gradients of two streams in order, and torch 2.10 and later warn that it has to."""
    quiet = getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None)
    if quiet is not None:
        quiet(False)


def can_pass_aside(module: nn.Module) -> bool:
    """Whether every running statistic is a moving average: a plain mean depends on how many came before."""
    return all(layer.momentum is not None for layer in module.modules() if isinstance(layer, _BatchNorm))


def _keep(layer: Any, views: int) -> float:
    """What is left of a layer's average after a pass."""
    updates = views if isinstance(layer, PerView) and not layer.pooled else 1
    return float((1 - layer.momentum) ** updates)


def _put(values: dict[Slot, Tensor]) -> None:
    for (layer, name), value in values.items():
        setattr(layer, name, value)
