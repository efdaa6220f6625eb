"""Batches through one network side by side, each on a CUDA stream of its own.

A GPU then runs the small kernels of one beside the large ones of another. All passes change the running statistics of
batch norm, and they must do so one after another: each leaves its own aside until they have met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import parametrize

Pass = Callable[[Tensor], Tensor]


class SideBySide:
    """Runs ``function(batch)`` on several batches at once; everywhere but on CUDA one after another.

    ``module`` is the network that the function passes them through, and all that is shared between the passes. Its
    batch norm may be all that a pass changes, see ``can_pass_aside``.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._streams: list[torch.cuda.Stream] = []
        self._aside: list[Aside] = []

    def __call__(self, function: Pass, batches: Sequence[Tensor]) -> list[Tensor]:
        """The function's results; gradients and running statistics are those of one call after another.

        Only random numbers that a pass itself draws, such as dropout's, are others.
        """
        while len(self._aside) < len(batches):
            self._aside.append(Aside(self._module))
        if batches[0].is_cuda:
            results = self._on_streams(function, batches)
        else:
            results = [self._pass(function, batch, number) for number, batch in enumerate(batches)]
        for aside in self._aside[: len(batches)]:
            aside.add()
        return results

    def _pass(self, function: Pass, batch: Tensor, number: int) -> Tensor:
        with self._aside[number].within():
            return function(batch)

    def _on_streams(self, function: Pass, batches: Sequence[Tensor]) -> list[Tensor]:
        """The first on the current stream. Autograd runs each backward pass on the stream of its forward pass."""
        device = batches[0].device
        current = torch.cuda.current_stream(device)
        if len(self._streams) < len(batches) - 1:
            self._streams = [torch.cuda.Stream(device) for _ in batches[1:]]
            # for the whole process: that gradients of shared weights come from several streams is meant
            torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        sides = list(enumerate(zip(self._streams, batches[1:], strict=False), 1))
        start = current.record_event()
        try:
            with _no_shared_casts(device.type):
                others = []
                for number, (stream, batch) in sides:
                    stream.wait_event(start)
                    batch.record_stream(stream)  # lest its memory be given away while the other stream still reads it
                    with torch.cuda.stream(stream):
                        others.append(self._pass(function, batch, number))
                first = self._pass(function, batches[0], 0)
        finally:  # after an error too: what the streams still work on may be freed
            for _, (stream, _) in sides:
                current.wait_stream(stream)
        for other in others:
            other.record_stream(current)
        return [first, *others]


class Aside:
    """What a pass through a network does to its running statistics, kept apart until it is added to them."""

    def __init__(self, module: nn.Module) -> None:
        layers: list[Any] = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and _tracks(layer)]
        self._all = [(layer, {name: torch.zeros_like(getattr(layer, name)) for name in BUFFERS}) for layer in layers]
        self._pairs = self._all
        if layers:  # filled on the device: a copy to it would wait for the host
            self._rest = torch.stack([torch.full_like(layer.running_mean[0], 1 - layer.momentum) for layer in layers])
            numbered = enumerate(layer.running_mean for layer in layers)
            self._layer_of_channel = torch.cat([torch.full_like(mean, n, dtype=torch.int64) for n, mean in numbered])

    @contextmanager
    def within(self) -> Iterator[None]:
        """Within, the running statistics of layers that train begin at zero and are kept here."""
        self._pairs = [(layer, own) for layer, own in self._all if layer.training]
        kept = [(layer, {name: getattr(layer, name) for name in BUFFERS}) for layer, _ in self._pairs]
        if self._all:
            torch._foreach_zero_([own[name] for _, own in self._all for name in AVERAGES])
            torch._foreach_zero_([own[COUNT] for _, own in self._all])
        try:
            _put(self._pairs)
            yield
        finally:
            _put(kept)

    @torch.no_grad()
    def add(self) -> None:
        """Change the layers' running statistics as the pass would have, had it come now.

        Each of a pass's updates, of which a layer has counted its own, is linear in them:
        running ← (1 − momentum) · running + momentum · found.
        """
        if not self._pairs:
            return
        # a value a channel, for one launch multiplies tensors of equal shapes only; 1 where a layer rests
        left = self._rest ** torch.stack([own[COUNT] for _, own in self._all])
        keeps = left.index_select(0, self._layer_of_channel).split([layer.num_features for layer, _ in self._all])
        keep = [keep for keep, (layer, _) in zip(keeps, self._all, strict=True) if layer.training]
        for name in AVERAGES:
            running = [getattr(layer, name) for layer, _ in self._pairs]
            torch._foreach_mul_(running, keep)
            torch._foreach_add_(running, [own[name] for _, own in self._pairs])
        torch._foreach_add_([getattr(layer, COUNT) for layer, _ in self._pairs], [own[COUNT] for _, own in self._pairs])


AVERAGES, COUNT = ("running_mean", "running_var"), "num_batches_tracked"
BUFFERS = (*AVERAGES, COUNT)


def can_pass_aside(module: nn.Module) -> bool:
    """Whether all that a pass changes are moving averages of batch norm; of torch's layers at least.

    A plain mean depends on how many batches came before. Buffers that a plugin's layer changes by itself can't be told
    from constants.
    """
    layers = list(module.modules())
    averages = all(layer.momentum is not None for layer in layers if isinstance(layer, _BatchNorm) and _tracks(layer))
    instance_norm = any(isinstance(layer, _InstanceNorm) and layer.track_running_stats for layer in layers)
    return averages and not instance_norm and not any(parametrize.is_parametrized(layer) for layer in layers)


def _tracks(layer: _BatchNorm) -> bool:
    return layer.track_running_stats and layer.running_mean is not None


def _put(buffers: Iterable[tuple[Any, dict[str, Tensor]]]) -> None:
    for layer, values in buffers:
        for name, value in values.items():
            setattr(layer, name, value)


@contextmanager
def _no_shared_casts(device: str) -> Iterator[None]:
    """Autocast as it is, but that no cast of a weight is kept: another stream might read it before it is written."""
    dtype, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    with torch.autocast(device, dtype, enabled, cache_enabled=False):
        yield
