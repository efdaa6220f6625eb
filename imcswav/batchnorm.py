"""Batch normalisation over views: statistics per view or pooled, and their re-estimation for evaluation.

IMC-SwAV's released program passes every view through the network alone, so statistics are per view and the running
ones get one update a view. Here all crops of a size pass together; a layer told that its batch holds
``views`` views normalises each of them apart, which gives the six-pass result exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

REESTIMATION_IMAGES = 10_000
"""At most this many training images are used to re-estimate statistics."""
REESTIMATION_BATCH = 500
"""Largest batch of the re-estimation; fixed, so that results don't depend on training's or prediction's."""
TEST_BATCHES = 50
"""The released program's limit on its pass over the test images."""


class PerView:
    """Mixin over a batch-norm class: the batch is ``views`` equal parts, view-major, normalised one by one."""

    views: int = 1

    def forward(self, x: Tensor) -> Tensor:
        """As the layer's own, for each view apart; running statistics are updated in the order of views."""
        layer: Callable[[Tensor], Tensor] = super().forward  # type: ignore[misc]
        if self.views == 1 or not self.training:  # type: ignore[attr-defined]
            return layer(x)
        return torch.cat([layer(part) for part in x.chunk(self.views)])


@cache
def _per_view_class(cls: Any) -> Any:
    return type(f"PerView{cls.__name__}", (PerView, cls), {})


def per_view(module: nn.Module) -> None:
    """Turn every batch-norm layer (timm's subclasses too) into one that can tell views apart, in place."""
    for layer in _layers(module):
        if not isinstance(layer, PerView):
            cls: Any = type(layer)
            layer.__class__ = _per_view_class(cls)


@contextmanager
def views_in_batch(module: nn.Module, count: int) -> Iterator[None]:
    """Within, the batches that ``module`` sees hold ``count`` views, view-major."""
    layers = [layer for layer in module.modules() if isinstance(layer, PerView)]
    for layer in layers:
        layer.views = count
    try:
        yield
    finally:
        for layer in layers:
            layer.views = 1


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode within; modes and every batch-norm statistic are put back afterwards."""
    modes = {part: part.training for part in module.modules()}
    saved = [(layer, _statistics(layer)) for layer in _layers(module)]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        for layer, statistics in saved:
            for name, value in statistics.items():
                getattr(layer, name).copy_(value)


@torch.no_grad()
def reestimate(
    module: nn.Module, images: Tensor, embed: Callable[[Tensor], Any], *, mode: str, batch_size: int, seed: int
) -> None:
    """Set the running statistics for evaluation from uint8 images (N, C, H, W) passed through ``embed``.

    ``mode`` "train": the plain mean over batches of at most 500 of at most 10,000 images, from scratch.
    Its batches are equal to within one image. "test": the released IMC-SwAV program's way: one shuffled pass of at
    most 50 training-size batches, the last one smaller, momentum 0.1 from the running values. "running": nothing.
    ``embed`` gets each batch whole and must not cut it up. Without batch norm nothing is done.
    """
    layers = [layer for layer in _layers(module) if layer.track_running_stats]
    if mode == "running" or not layers or len(images) < 2:
        return
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator).to(images.device)
    batches = order.split(batch_size)[:TEST_BATCHES]
    batches = batches[:-1] if len(batches[-1]) == 1 else batches  # one image has no variance
    momenta = [layer.momentum for layer in layers]
    if mode == "train":
        order = order[:REESTIMATION_IMAGES]
        batches = order.tensor_split(math.ceil(len(order) / REESTIMATION_BATCH))
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # None makes torch average all batches evenly
    for layer in layers:
        layer.train()
    try:
        for index in batches:
            embed(images[index])
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.eval()
            layer.momentum = momentum


def _layers(module: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]


def _statistics(layer: _BatchNorm) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in layer.named_buffers(recurse=False)}
