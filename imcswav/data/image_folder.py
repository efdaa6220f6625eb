"""A folder of images, nested or flat, in any format Pillow reads.

    photos/cat/1.jpg            classes are the first folders, when all images lie in two or more of them
    photos/train/…              train/ and test/ (or val/) are splits, each with or without class folders

Class folders serve evaluation only: which images are taken, and how, never depends on them.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from imcswav.data import Data, DataFacts, Split, blind_subset
from imcswav.errors import DataError
from imcswav.images import decode_many, find_images, printable, shorter_side
from imcswav.pixels import Resize
from imcswav.placement import must_stream
from imcswav.plugins import hookimpl
from imcswav.stream import Streamed

SIZE_SAMPLE, SIZE_LIMIT = 100, 64
STATISTICS_SAMPLE = 2000
"""Streamed images from which mean and std are taken."""


@dataclass(frozen=True)
class Listing:
    """The files of a split and the class folder of each; none at all when the split has no classes."""

    folder: Path
    paths: Sequence[Path]
    classes: Sequence[str] | None


class ImageFolder(Data, name="image_folder"):
    """Images below ``root``, named by their path relative to it; ``skipped`` has the unreadable ones.

    Streamed, an unreadable file stays in its split for training, where another image takes its place (see
    imcswav/stream.py), and ``readable()`` has the rest.
    """

    class Config(Data.Config):
        can_stream: ClassVar[bool] = True

        root: str = Field(min_length=1)
        """The folder; "~" is your home, and a relative path starts at the working directory."""
        size: int | None = Field(None, ge=8, le=1024)
        """Side in pixels to which every image is brought; unset: the smallest shorter side in a sample, at most 64."""
        channels: int = Field(3, ge=1, le=64)
        """3 (colour) or 1 (grey) from any format; another number reads ``.npy`` files of shape (H, W, C)."""
        resize: Resize = "crop"
        """How an image becomes square: cut to the largest centred square, padded with black, or stretched."""
        limit: int | None = Field(None, ge=2)
        """Train on this many images, drawn evenly from all files and always the same ones."""
        splits: Literal["auto", "none"] = "auto"
        """"auto" takes train/ and test/ (or val/) below the root as splits; "none" takes all as one."""
        labels: Literal["auto", "none"] = "auto"
        """"auto" takes class folders as ground truth for evaluation; "none" knows no ground truth."""

        def facts(self) -> DataFacts:
            """From the listing alone, unreadable files included; raises DataError when there are no files."""
            train, _ = self.listings()
            side = self.side(train)
            return DataFacts(len(train.paths), self.channels, side, resize=self.resize)

        def side(self, train: Listing) -> int:
            """``size``, or what a sample of the files' headers suggests."""
            if self.size is not None:
                return self.size
            sample = train.paths[:: max(1, len(train.paths) // SIZE_SAMPLE)]
            sides = [side for path in sample if (side := shorter_side(path)) is not None]
            return max(8, min([SIZE_LIMIT, *sides]))

        def resolved(self) -> Self:
            """With an absolute root."""
            return self.model_copy(update={"root": os.path.abspath(self.folder())})

        def folder(self) -> Path:
            """The root with "~" replaced."""
            return Path(os.path.expanduser(self.root))

        def listings(self) -> tuple[Listing, Listing | None]:
            """The training and the test files, nothing decoded; raises DataError as ``facts``."""
            root = self.folder()
            if not os.path.exists(root):  # os.path: without permission to look, this is False and no error
                raise DataError(
                    f"The image folder '{root}' does not exist or can't be reached; set data.root to an "
                    f"existing folder (a relative path starts at {Path.cwd()})."
                )
            if not os.path.isdir(root):
                raise DataError(f"'{root}' is a file; set data.root to the folder that holds the images.")
            if self.splits == "none" or not os.path.isdir(root / "train"):
                return self._thin(self._list(root)), None
            tests = [root / name for name in ("test", "val") if os.path.isdir(root / name)]
            return self._thin(self._list(root / "train")), self._list(tests[0]) if tests else None

        def _list(self, folder: Path) -> Listing:
            paths = find_images(folder, self.channels)
            if not paths:
                kind = "images (.jpg, .png, .webp …)" if self.channels in (1, 3) else ".npy files"
                raise DataError(f"There are no {kind} in '{folder}' or below it; put some there or change data.root.")
            inside = [path.relative_to(folder).parts for path in paths]
            classes = [parts[0] for parts in inside if len(parts) > 1]
            labelled = self.labels == "auto" and len(classes) == len(paths) and len(set(classes)) > 1
            return Listing(folder, paths, classes if labelled else None)

        def _thin(self, full: Listing) -> Listing:
            """At most ``limit`` files, drawn blind to classes: ground truth must not shape training."""
            chosen = blind_subset(len(full.paths), self.limit)
            classes = full.classes and [full.classes[index] for index in chosen]
            return Listing(full.folder, [full.paths[index] for index in chosen], classes)

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        train, test = self.config.listings()
        self.resize = self.config.resize
        self.class_names = class_names(train, test)
        side = self.config.side(train)
        files = len(train.paths) + (len(test.paths) if test else 0)
        why = must_stream(self.config.placement, files * self.config.channels * side**2)
        if why:
            self._stream(train, test, side, why)
            return
        self.train = self._read(train, side, least=2)
        self.test = self._read(test, side, least=1) if test else None
        self.measure()

    def readable(self) -> Self:
        """Without the streamed images that can't be read."""
        splits = [_readable(split) for split in (self.train, self.test) if split is not None]
        found = copy.copy(self)
        found.train, found.test = splits[0], splits[1] if len(splits) > 1 else None
        return found

    def _stream(self, train: Listing, test: Listing | None, side: int, why: str) -> None:
        self.skipped = skipped = list[tuple[str, str]]()
        self.train = self._streamed(train, side, skipped, self.config.limit)
        self.test = self._streamed(test, side, skipped, None) if test else None
        images = self.train.images
        assert isinstance(images, Streamed)
        kept = f", and kept in {images.cache.folder}" if images.cache else ""
        self.note = f"Images: decoded while training ({why}){kept}."
        if self.test is not None:
            self.test.images[0]  # a test folder of which nothing can be read is known now, not after the first epoch
        self.measure(images.batches(torch.tensor(blind_subset(len(images), STATISTICS_SAMPLE)).split(256)))

    def _streamed(self, listing: Listing, side: int, skipped: list[tuple[str, str]], limit: int | None) -> Split:
        settings = self.config
        images = Streamed(
            listing.paths, listing.folder, limit=limit, size=side, channels=settings.channels,
            resize=settings.resize, skipped=skipped,
        )  # fmt: skip
        return Split(images, self._names(listing.paths), self._labels(listing, range(len(images))))

    def _read(self, listing: Listing, side: int, least: int) -> Split:
        settings = self.config
        images_NCHW, kept, skipped = decode_many(
            listing.paths, size=side, channels=settings.channels, resize=settings.resize
        )
        self.skipped = [*self.skipped, *skipped]
        if len(kept) < least:
            example = f" ({skipped[0][0]}: {skipped[0][1]})" if skipped else ""
            raise DataError(
                f"Only {len(kept)} of {len(listing.paths)} images in '{listing.folder}' can be read{example};"
                f" at least {least} must be."
            )
        names = self._names([listing.paths[index] for index in kept])
        return Split(images_NCHW, names, self._labels(listing, kept))

    def _names(self, paths: Sequence[Path]) -> list[str]:
        root = self.config.folder()
        return [printable(path.relative_to(root)) for path in paths]

    def _labels(self, listing: Listing, kept: Sequence[int]) -> Tensor | None:
        if listing.classes is None:
            return None
        number = {name: index for index, name in enumerate(self.class_names)}
        return torch.tensor([number[printable(listing.classes[index])] for index in kept])


def _readable(split: Split) -> Split:
    if not isinstance(split.images, Streamed):
        return split
    kept = split.images.readable()
    if len(kept) == len(split):
        return split
    labels = None if split.labels is None else split.labels[torch.from_numpy(kept)]
    return Split(split.images.select(kept), [split.names[index] for index in kept], labels)


def class_names(train: Listing, test: Listing | None) -> tuple[str, ...]:
    """Names of the class folders of all splits, sorted."""
    found = {*(train.classes or ()), *((test and test.classes) or ())}
    return tuple(sorted(printable(name) for name in found))


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [ImageFolder]
