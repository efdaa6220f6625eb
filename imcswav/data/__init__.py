"""Data: where images come from, decoded to uint8, and where they lie while a network is trained on them."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from imcswav.component import Component
from imcswav.distributed import own_rows, shard, world_size
from imcswav.errors import DataError, Problem
from imcswav.imaging.find import printable
from imcswav.imaging.pixels import Resize
from imcswav.imaging.placement import Placement, choose
from imcswav.imaging.prefetch import Fetched, InMemory, pixel_digest
from imcswav.seeding import mix

IN_ORDER = "in order"
"""In a digest: that it sees the order of pixels and images; former ones didn't."""
NO_STREAM = 'The data set "{name}" can\'t be streamed.'
NO_STREAM_REMEDY = 'Use placement = "auto", or store the images as files and take the data set "image_folder".'


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set before anything is downloaded or decoded.

    ``images`` counts the training split; None where only reading could tell. ``size`` is the side in pixels of the
    (square) decoded images. ``mean`` and ``std`` (a value a channel, in [0, 1]) are known once the data is built;
    ``resize`` says how an image of another shape becomes square (see imcswav/imaging/read.py); ``subsets`` are
    the training split's, with the number of images in each, None where only reading could tell.
    """

    images: int | None
    channels: int
    size: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: Resize = "crop"
    subsets: Mapping[str, int | None] = field(default_factory=dict)
    test_images: int | None = None
    """Images of the test split: 0 where there is none, None where only reading could tell."""


Images = Tensor | Fetched
"""uint8 images (N, C, H, W): a tensor, or what gives the same where not all are decoded or on the device.

Both have ``shape``, ``dtype``, ``device`` (of what they give), ``len``, ``split(n)``, and can be indexed with a number
or an index tensor.
"""


@dataclass
class Split:
    """Decoded images uint8 (N, C, H, W), their names, and ground truth where it exists (evaluation only)."""

    images: Images
    names: Sequence[str]
    labels: Tensor | None = None
    """int64 (N,), −1 where unknown, or None. Never handed to a learner."""
    subsets: Mapping[str, Tensor] = field(default_factory=dict)
    """bool (N,) on the CPU by name: parts of the split that the data set's authors set apart, whatever the labels."""
    files: Sequence[str] = ()
    """Path of each file below the data's ``folder``, as the file system knows it; empty where images are no files."""

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Batch:
    """What a learner gets: uint8 images (B, C, H, W) on the device and their index in the split. No labels.

    ``subsets`` has, by name, the rows of the batch that belong to it: int64 (·,) on the device.
    """

    images: Tensor
    index: Tensor
    subsets: Mapping[str, Tensor] = field(default_factory=dict)


class Data(Component, kind="data"):
    """A data set with a training split and, where there is one, a test split.

    Build: ``config.build()`` decodes into memory on the CPU; ``to(device)`` moves the images, or leaves them in main
    memory, by ``placement``. Without a test split, evaluation scores the training images (and says so).
    """

    class Config(Component.Config):
        can_stream: ClassVar[bool] = False
        """Whether it can be trained on without decoding everything first."""

        placement: Placement = "auto"
        """Where decoded images lie: on the "device" (fastest); on the "host", in main memory, copied batch by batch; or
        "stream", of image folders only: files are decoded while training and kept in a cache on disk, so that the first
        step comes in seconds. "auto" takes the device if images need at most a quarter of its free memory, else the
        host; over half of the available main memory, folders stream. Batches are the same in every place, but a
        streamed folder's mean and std are those of 2,000 images (views.mean and views.std replace them), and training
        shows another image in an unreadable file's place. The cache, which 5,000 files or more have in every place,
        is in ~/.cache/imcswav or IMCSWAV_CACHE and may be deleted."""

        def facts(self) -> DataFacts:
            """Known before reading; raises DataError when the source is missing or empty."""
            raise NotImplementedError

        def surveyed(self, sample: int) -> tuple[DataFacts, list[Problem]]:
            """``facts``, and what ``sample`` images spread over the data tell of the rest; nothing is kept of them.

            Raises DataError as ``facts``.
            """
            return self.facts(), []

        def resolved(self) -> Self:
            """The same settings with absolute paths, so that a run's recipe works from every folder."""
            return self

    config: Config

    train: Split
    test: Split | None = None
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize = "crop"
    folder: str = ""
    """Absolute path of the folder that files lie in; "" where images are no files."""
    skipped: Sequence[tuple[str, str]] = ()
    """(path, reason) of every file that could not be read; of streamed ones, of those met so far."""
    reading: str = ""
    """One line on how the files were read, where there is something to say."""
    note: str = ""
    """That, and where the images lie and why, once ``to`` was called."""

    def unread(self) -> list[tuple[str, str]]:
        """``skipped``, with files named as images are: by their paths below ``folder``."""
        start = f"{printable(self.folder)}/" if self.folder else ""
        return [(path.removeprefix(start), reason) for path, reason in self.skipped]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.placement == "stream" and not config.can_stream:
            raise DataError(NO_STREAM.format(name=self.name) + " " + NO_STREAM_REMEDY)

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
        subsets = {name: int(member_N.sum()) for name, member_N in self.train.subsets.items()}
        tests = 0 if self.test is None else len(self.test)
        return DataFacts(
            len(self.train), self.channels, self.size, self.mean, self.std, self.resize, subsets, test_images=tests
        )

    @property
    def streamed(self) -> bool:
        """Whether training images are decoded while training."""
        return not isinstance(self.train.images, Tensor | InMemory)

    def to(self, device: torch.device) -> Self:
        """The same data with its images on the device or to be copied there by batches; self stays as it is."""
        splits = [split for split in (self.train, self.test) if split is not None]
        decoded = sum(split.images.shape.numel() for split in splits)
        place, note = choose(self.config.placement, decoded, device)

        def move(images: Images) -> Images:
            if isinstance(images, Tensor) and place == "host":
                return InMemory(images.cpu(), device)
            return images.to(device)

        moved = copy.copy(self)
        said = isinstance(self.train.images, Fetched)
        moved.note = self.note if said else " ".join(filter(None, (self.reading, note)))
        moved.train = dataclasses.replace(self.train, images=move(self.train.images))
        if self.test is not None:
            moved.test = dataclasses.replace(self.test, images=move(self.test.images))
        return moved

    def readable(self) -> Self:
        """The data for evaluation: streamed data lose the images that can't be read, after meeting every file."""
        return self

    def digest(self) -> str:
        """Tells the training images from others: their number, and a checksum of names and pixels in their order.

        Of streamed images the files' sizes and times stand for the pixels.
        """
        images = self.train.images
        pixels = pixel_digest(images) if isinstance(images, Tensor) else images.checksum()
        return self._digest(pixels, "streamed images" if self.streamed else f"images {IN_ORDER}")

    def former_digest(self) -> str:
        """As version 0.1.0 has it in runs begun before 2026-11-28: it saw the sum of all pixels, and no order."""
        images = self.train.images.images if isinstance(self.train.images, InMemory) else self.train.images
        known = str(int(images.sum(dtype=torch.int64))) if isinstance(images, Tensor) else images.checksum()
        return self._digest(known, "streamed images" if self.streamed else "images")

    def _digest(self, pixels: str, kind: str) -> str:
        names = hashlib.sha256("\0".join(self.train.names).encode("utf-8", "surrogatepass"))
        names.update(pixels.encode())
        return f"{len(self.train)} {kind}, {names.hexdigest()[:12]}"

    def measure(self, chunks: Iterable[Tensor] | None = None) -> None:
        """Set ``mean`` and ``std`` (per channel, in [0, 1]) from the training images, or from ``chunks`` of them."""
        count = 0
        total = square = torch.zeros((), dtype=torch.float64, device=self.train.images.device)
        for chunk in self.train.images.split(1024) if chunks is None else chunks:
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
        order = torch.randperm(len(images), generator=generator)
        pinned = order.pin_memory() if images.device.type == "cuda" else order
        moved = pinned.to(images.device, non_blocking=True)  # one copy an epoch
        steps = [slice(step * batch_size, (step + 1) * batch_size) for step in range(start, len(images) // batch_size)]
        shares = [shard(order[step], rank, world) for step in steps]
        indices = (shard(moved[step], rank, world) for step in steps)
        subsets = (self._subsets(share, images.device) for share in shares)
        if isinstance(images, Tensor):
            yield from (
                Batch(images.index_select(0, index), index, rows) for index, rows in zip(indices, subsets, strict=True)
            )
            return
        with closing(images.batches(iter(shares))) as fetched:
            yield from map(Batch, fetched, indices, subsets)

    def _subsets(self, share_B: Tensor, device: torch.device) -> dict[str, Tensor]:
        """The rows of a batch in each subset; their numbers are known to the host, so nothing waits."""
        members = {name: member_N[share_B] for name, member_N in self.train.subsets.items()}
        return {name: is_in_B.nonzero().flatten().to(device, non_blocking=True) for name, is_in_B in members.items()}


def own_images(images: Images, size: int) -> Iterator[Tensor]:
    """This process's share of the images, in order, ``size`` at a time; ``all_rows`` puts what became of them together.

    A share is never empty; raises DataError when there are fewer images than processes.
    """
    if len(images) < world_size():
        raise DataError(f"{len(images)} images can't be shared by {world_size()} processes; start fewer.")
    if world_size() == 1:
        yield from images.split(size)
        return
    share = own_rows(len(images))
    if isinstance(images, Tensor):
        yield from images[share].split(size)
    else:
        yield from images.batches(torch.arange(share.start, share.stop).split(size))


def blind_subset(count: int, limit: int | None) -> list[int]:
    """At most ``limit`` of ``count`` positions, ascending, always the same ones and drawn blind to classes."""
    if limit is None or limit >= count:
        return list(range(count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return sorted(order[:limit].tolist())
