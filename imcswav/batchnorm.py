"""Batch normalisation over views: statistics per view or pooled, and their re-estimation for evaluation.

IMC-SwAV's released program passes every view through the network alone, so statistics are per view and the running
ones get one update a view. Here all crops of a size pass together; a layer told that its batch holds
``views`` views normalises each of them apart, which gives the six-pass result exactly. Where processes share a batch,
statistics are those of all its images.
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

from imcswav.constants import constant
from imcswav.data import Images
from imcswav.distributed import batch_size, world_size
from imcswav.errors import ImcswavError
from imcswav.view_norm import ViewNorm

REESTIMATION_IMAGES = 10_000
"""At most this many training images are used to re-estimate statistics."""
REESTIMATION_BATCH = 500
"""Largest batch of the re-estimation; fixed, so that results don't depend on training's or prediction's."""
TEST_BATCHES = 50
"""The released program's limit on its pass over the test images."""


class PerView:
    """Mixin over a batch-norm class: the batch is image-major, and each of its ``views`` is normalised by itself."""

    views: int = 1
    fold: Tensor | None = None
    """Weights of the views' statistics in the running ones, after one update a view."""
    joint: bool
    """Whether the layer computes as torch's own does; a subclass of it may do more."""
    pooled: bool = False
    """Whether all views are normalised together, however many there are."""
    shared: Callable[[Any, Tensor], Tensor] | None = None
    """How it normalises over all processes, where it isn't to be compiled."""

    def forward(self: Any, x: Tensor) -> Tensor:
        """As the layer's own, for each view apart; running statistics are updated in the order of views."""
        layer: Callable[[Tensor], Tensor] = super().forward  # type: ignore[misc]
        if self.training and world_size() > 1:
            normalised: Tensor = (self.shared or _normalise_shared)(self, x)
            return normalised
        if not self.training or (self.views == 1 and self.fold is None):
            return layer(x)
        if self.joint and x.numel() > self.views * x.shape[1]:
            return _normalise_apart(self, x) if _channels_last(x) else _normalise(self, x)
        parts = x.unflatten(0, (-1, self.views)).unbind(1)
        return torch.stack([layer(part) for part in parts], 1).flatten(0, 1)


def _channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _normalise(layer: Any, x: Tensor) -> Tensor:
    """Views as further channels: in an image-major batch that is another view of the same memory, not a copy."""
    views, channels = layer.views, x.shape[1]
    wide = x.reshape(len(x) // views, views * channels, *x.shape[2:])
    weight, bias = (None if p is None else p.repeat(views) for p in (layer.weight, layer.bias))
    if not layer.track_running_stats:
        y, _, _ = torch.native_batch_norm(wide, weight, bias, None, None, True, 0.0, layer.eps)
    else:
        mean, variance = torch.zeros(
            2, views * channels, dtype=layer.running_mean.dtype, device=layer.running_mean.device
        )
        # with momentum 1 the "running" statistics are those of this batch alone, the variance unbiased already
        y, _, _ = torch.native_batch_norm(wide, weight, bias, mean, variance, True, 1.0, layer.eps)
        _fold(layer, mean.view(views, channels), variance.view(views, channels))
    # not a view to autograd: the ReLU that follows in place would else copy its way through the backward pass
    unwound: Tensor = torch.ops.aten._unsafe_view(y, x.shape)
    return unwound


def _normalise_apart(layer: Any, x: Tensor) -> Tensor:
    """The same where views and channels aren't side by side in memory, or where processes share the batch."""
    weight, bias = layer.weight, layer.bias
    if weight is None:
        weight, bias = x.new_ones(x.shape[1]), x.new_zeros(x.shape[1])
    y, mean_VC, variance_VC = ViewNorm.apply(x, weight, bias, layer.views, layer.eps)
    if layer.track_running_stats:
        count = batch_size(x.numel() // mean_VC.numel())
        _fold(layer, mean_VC, variance_VC * (count / (count - 1)))
    normalised: Tensor = y
    return normalised


def _normalise_shared(layer: Any, x: Tensor) -> Tensor:
    """Over all processes, and then what timm's layers do beside normalising."""
    y = _normalise_apart(layer, x)
    if layer.joint:
        return y
    activated: Tensor = layer.act(layer.drop(y))
    return activated


@torch.no_grad()
def _fold(layer: Any, mean_VC: Tensor, variance_VC: Tensor) -> None:
    """Running statistics after one update a view, in closed form."""
    views = len(mean_VC)
    layer.num_batches_tracked.add_(views)
    for running, values_VC in ((layer.running_mean, mean_VC), (layer.running_var, variance_VC)):
        if layer.momentum is None:  # the plain mean of all batches so far
            running.lerp_(values_VC.mean(0), views / layer.num_batches_tracked)
        elif layer.fold is None:
            running.lerp_(values_VC.mean(0), layer.momentum)
        else:
            running.addmv_(values_VC.mT, layer.fold, beta=(1 - layer.momentum) ** views)


@cache
def _per_view_class(cls: Any) -> Any:
    return type(f"PerView{cls.__name__}", (PerView, cls), {"joint": cls.forward is _BatchNorm.forward})


def per_view(module: nn.Module) -> None:
    """Turn every batch-norm layer (timm's subclasses too) into one that can tell views apart, in place."""
    layers: list[Any] = _layers(module)
    for layer in layers:
        if not isinstance(layer, PerView):
            cls: Any = type(layer)
            layer.__class__ = _per_view_class(cls)
            # attributes of its own from the start: to a compiler, one that comes later is a reason to begin anew
            layer.views, layer.fold, layer.shared = 1, None, None


def share_statistics(module: nn.Module) -> None:
    """Let every batch-norm layer count the images of all processes, in place; raises ImcswavError where one can't."""
    own = [layer for layer in _layers(module) if not isinstance(layer, PerView)]
    per_view(module)
    for layer in own:
        layer.pooled = True  # type: ignore[assignment]
    # collectives are left to torch.distributed; not as a decorator, which would import the compiler for everybody
    uncompiled = torch.compiler.disable(_normalise_shared)
    for layer in _layers(module):
        layer.shared = uncompiled
        if not (layer.joint or (hasattr(layer, "act") and hasattr(layer, "drop"))):
            raise ImcswavError(
                f"The layer {type(layer).__bases__[-1].__name__} normalises batches in a way of its own that several "
                f"processes can't share; take another backbone, or one process."
            )


def views_of(module: nn.Module) -> int:
    """How many views a batch of the module holds at present."""
    return next((layer.views for layer in module.modules() if isinstance(layer, PerView)), 1)


@contextmanager
def views_in_batch(module: nn.Module, count: int) -> Iterator[None]:
    """Within, the batches that ``module`` sees hold ``count`` views, image-major: all of the first image first."""
    layers: list[Any] = [layer for layer in module.modules() if isinstance(layer, PerView) and not layer.pooled]
    before = [(layer.views, layer.fold) for layer in layers]
    for layer in layers:
        layer.views, layer.fold = count, None
        if layer.momentum is not None and layer.running_mean is not None:
            keep = 1 - layer.momentum
            weights = tuple(layer.momentum * keep ** (count - 1 - view) for view in range(count))
            layer.fold = constant(weights, layer.running_mean.device, layer.running_mean.dtype)
    try:
        yield
    finally:
        for layer, (views, fold) in zip(layers, before, strict=True):
            layer.views, layer.fold = views, fold


@contextmanager
def resting_statistics(module: nn.Module) -> Iterator[None]:
    """Within, batches are normalised as in training, but leave no trace in the running statistics."""
    own = [(layer, dict(layer.named_buffers(recurse=False))) for layer in _layers(module)]
    for layer, buffers in own:
        for name, value in buffers.items():
            setattr(layer, name, value.clone())
    try:
        yield
    finally:
        for layer, buffers in own:
            for name, value in buffers.items():
                setattr(layer, name, value)


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
    module: nn.Module, images: Images, embed: Callable[[Tensor], Any], *, mode: str, batch_size: int, seed: int
) -> None:
    """Set the running statistics for evaluation from uint8 images (N, C, H, W) passed through ``embed``.

    ``mode`` "train": the plain mean over batches of at most 500 of at most 10,000 images, from scratch; over all views
    of them where ``embed`` passes several. Its batches are equal to within one image. "test": the released IMC-SwAV
    program's way: one shuffled pass of at most 50 training-size batches, the last one smaller, momentum 0.1 from the
    running values. "running": nothing.
    ``embed`` gets each batch whole and must not cut it up. Without batch norm nothing is done.
    """
    layers = [layer for layer in _layers(module) if layer.track_running_stats]
    before = [_statistics(layer) for layer in layers]
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
    for layer in layers:
        layer.train()
    try:
        with _plain_mean(layers if mode == "train" else []):
            for index in batches:
                embed(images[index])
    finally:
        for layer, momentum, statistics in zip(layers, momenta, before, strict=True):
            layer.eval()
            layer.momentum = momentum
            # layers that ``embed`` doesn't pass, as those of a network that doesn't assign; told on the device
            unused = layer.get_buffer("num_batches_tracked").eq(0)
            for name, value in statistics.items():
                found = getattr(layer, name)
                found.copy_(value.where(unused, found))


@contextmanager
def _plain_mean(layers: list[_BatchNorm]) -> Iterator[None]:
    """Within, every pass of a layer counts the same. Momentum None gives that too, but reads a count off the device."""
    passes = dict.fromkeys(layers, 0)

    def count(layer: Any, arguments: Any) -> None:
        passes[layer] += 1
        layer.momentum = 1 / passes[layer]

    hooks = [layer.register_forward_pre_hook(count) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _layers(module: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]


def _statistics(layer: _BatchNorm) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in layer.named_buffers(recurse=False)}
