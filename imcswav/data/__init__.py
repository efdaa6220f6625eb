"""Data: where images come from, decoded once to uint8 and kept on the device."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from imcswav.component import Component
from imcswav.distributed import shard
from imcswav.pixels import Resize


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set before anything is downloaded or decoded.

    ``images`` counts the training split; None where only reading could tell. ``size`` is the side in pixels of the
    (square) decoded images. ``mean`` and ``std`` (a value a channel, in [0, 1]) are known once the data is built;
    ``resize`` says how an image of another shape becomes square (see imcswav/images.py).
    """

    images: int | None
    channels: int
    size: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: Resize = "crop"


@dataclass
class Split:
    """Decoded images uint8 (N, C, H, W), their names, and ground truth where it exists (evaluation only)."""

    images: Tensor
    names: Sequence[str]
    labels: Tensor | None = None
    """int64 (N,), or None. Never handed to a learner."""

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Batch:
    """What a learner gets: uint8 images (B, C, H, W) on the device and their index in the split. No labels."""

    images: Tensor
    index: Tensor


class Data(Component, kind="data"):
    """A data set with a training split and, where there is one, a test split.

    Build: ``config.build()`` decodes into memory on the CPU; ``to(device)`` moves the images. Without a test
    split, evaluation scores the training images (and says so).
    """

    class Config(Component.Config):
        def facts(self) -> DataFacts:
            """Known before reading; raises DataError when the source is missing or empty."""
            raise NotImplementedError

        def resolved(self) -> Self:
            """The same settings with absolute paths, so that a run's recipe works from every folder."""
            return self

    train: Split
    test: Split | None = None
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize = "crop"
    skipped: Sequence[tuple[str, str]] = ()
    """(path, reason) of every file that could not be read."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)

    @property
    def channels(self) -> int:
        """C of the decoded images."""
        return int(self.train.images.shape[1])

    @property
    def size(self) -> int:
        """Side of the decoded images in pixels."""
        return int(self.train.images.shape[-1])

    @property
    def facts(self) -> DataFacts:
        """What a learner is built from, and a saved model remembers."""
        return DataFacts(len(self.train), self.channels, self.size, self.mean, self.std, self.resize)

    def to(self, device: torch.device) -> Self:
        """The same data with its images on the device; self stays as it is."""
        moved = copy.copy(self)
        moved.train = dataclasses.replace(self.train, images=self.train.images.to(device))
        if self.test is not None:
            moved.test = dataclasses.replace(self.test, images=self.test.images.to(device))
        return moved

    def digest(self) -> str:
        """Tells the training images from others: their number, and a checksum of names and pixels."""
        names = hashlib.sha256("\0".join(self.train.names).encode("utf-8", "surrogatepass"))
        names.update(str(int(self.train.images.sum(dtype=torch.int64))).encode())
        return f"{len(self.train)} images, {names.hexdigest()[:12]}"

    def measure(self) -> None:
        """Set ``mean`` and ``std`` (per channel, in [0, 1]) from the training images."""
        count = 0
        total = square = torch.zeros((), dtype=torch.float64, device=self.train.images.device)
        for chunk in torch.split(self.train.images, 1024):
            values = chunk.double().div(255).transpose(0, 1).flatten(1)
            count += values.shape[1]
            total, square = total + values.sum(1), square + values.square().sum(1)
        mean = total / count
        deviation = (square / count - mean.square()).clamp_min(0).sqrt().clamp_min(1e-3)
        self.mean, self.std = tuple(mean.tolist()), tuple(deviation.tolist())

    def batches(
        self, epoch: int, *, seed: int, batch_size: int, rank: int = 0, world: int = 1, start: int = 0
    ) -> Iterator[Batch]:
        """The batches of one epoch from batch ``start`` on, the last partial one dropped.

        The order is a permutation keyed by (seed, epoch), the same on every device, so it needs no state; each rank
        gets its share of every global batch of ``batch_size`` images.
        """
        images = self.train.images
        generator = torch.Generator().manual_seed(mix(seed, epoch))
        order = torch.randperm(len(images), generator=generator).to(images.device)  # one copy an epoch
        for step in range(start, len(images) // batch_size):
            index = shard(order[step * batch_size : (step + 1) * batch_size], rank, world)
            yield Batch(images.index_select(0, index), index)


def blind_subset(count: int, limit: int | None) -> list[int]:
    """At most ``limit`` of ``count`` positions, ascending, always the same ones and drawn blind to classes."""
    if limit is None or limit >= count:
        return list(range(count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return sorted(order[:limit].tolist())


def mix(seed: int, *keys: int) -> int:
    """A 63-bit seed from several integers (splitmix64), so that nearby keys give unrelated draws."""
    state = seed & 0xFFFFFFFFFFFFFFFF
    for key in keys:
        state = (state + (key + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
