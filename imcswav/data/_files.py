"""What all data sets of image files share: they are listed, then decoded into memory or streamed.

A subclass's Config says which files there are (``listings``); ground truth serves evaluation only: which images are
taken, and how, never depends on it.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from imcswav.data import Data, DataFacts, Split, blind_subset
from imcswav.data._survey import Sample, cache_room, memory, spread
from imcswav.errors import DataError, Problem
from imcswav.imaging.find import left_out, printable
from imcswav.imaging.pixels import Resize
from imcswav.imaging.placement import must_stream
from imcswav.imaging.read import decode_many, shorter_side
from imcswav.imaging.stream import Streamed, place_of

SIZE_SAMPLE, SIZE_LIMIT = 100, 64
STATISTICS_SAMPLE = 2000
"""Streamed images from which mean and std are taken."""
CACHED_FROM = 5000
"""A split of so many files is kept decoded on disk; fewer are decoded in a moment."""


@dataclass(frozen=True)
class Listing:
    """The files of a split and the class of each; no ``classes`` at all when the split has none."""

    folder: Path
    paths: Sequence[Path]
    classes: Sequence[str] | None
    ignored: Sequence[Path] = ()
    """Files that are no images by their extension, where that is worth a word."""
    part: Sequence[str] = ()
    """What of the folder is taken, where that is a choice: each part of it has a decoded cache of its own."""

    def thin(self, limit: int | None) -> Listing:
        """At most ``limit`` files, drawn blind to classes: ground truth must not shape training."""
        return self.select(blind_subset(len(self.paths), limit))

    def select(self, chosen: Sequence[int]) -> Listing:
        """These files only."""
        classes = self.classes and [self.classes[index] for index in chosen]
        return dataclasses.replace(self, paths=[self.paths[index] for index in chosen], classes=classes)


class FilesConfig(Data.Config):
    """Settings of every data set of files."""

    can_stream: ClassVar[bool] = True
    mean: ClassVar[tuple[float, ...]] = ()
    """Published constants; where there are none, mean and std are measured."""
    std: ClassVar[tuple[float, ...]] = ()

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

    def listings(self) -> tuple[Listing, Listing | None]:
        """The training and the test files, nothing decoded; raises DataError when they are missing."""
        raise NotImplementedError

    def distinct(self, train: Listing) -> Listing:
        """The training files without those that a setting leaves out after a look at each."""
        return train

    def left_out(self, train: Listing, test: Listing | None) -> str:
        """A sentence about images of the folder that lie in neither split; "" where there are none."""
        return ""

    def titles(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Names for a reader of the classes that the listings name."""
        return tuple(map(printable, classes))

    def constants(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The published mean and std, where they are of as many channels."""
        return (self.mean, self.std) if len(self.mean) == self.channels else ((), ())

    def facts(self) -> DataFacts:
        """From the listing alone, unreadable files included; raises DataError when there are no files."""
        return self._facts(*self.listings())

    def _facts(self, train: Listing, test: Listing | None) -> DataFacts:
        side, tests = self.side(train), len(test.paths) if test else 0
        return DataFacts(
            len(train.paths), self.channels, side, *self.constants(), resize=self.resize, test_images=tests
        )

    def surveyed(self, sample: int) -> tuple[DataFacts, list[Problem]]:
        """``facts``, and what a sample of the files, the listing and room for decoded images give to complain of."""
        train, test = self.listings()
        facts = self._facts(train, test)
        problems = [problem for listing in filter(None, (train, test)) for problem in self.oddities(listing)]
        if said := self.left_out(train, test):
            problems.append(Problem("data.root", said, severity="warning"))
        for listing, least in ((train, 2), (test, 1)):
            if listing is not None:
                problems += self._sampled(listing, sample, facts.size, least)
        image = self.channels * facts.size**2
        files = len(train.paths) + (len(test.paths) if test else 0)
        streams = bool(must_stream(self.placement, files * image))
        if not streams:
            problems += memory(files, self.channels, facts.size, self.placement)
        for listing, limit in ((train, self.limit), (test, None)):
            if listing is not None and (streams or len(listing.paths) >= CACHED_FROM):
                way = [os.path.abspath(listing.folder), limit, self.channels, facts.size, self.resize, *listing.part]
                problems += cache_room(place_of(listing.folder, way), len(listing.paths) * image)
        return facts, problems

    def _sampled(self, listing: Listing, sample: int, side: int, least: int) -> list[Problem]:
        chosen = [listing.paths[index] for index in spread(len(listing.paths), sample)]
        named = ((printable(path), path) for path in chosen)
        looked = Sample.of(len(listing.paths), named, side=side, channels=self.channels, resize=self.resize)
        return looked.problems("data.root", least, f"`imcswav inspect {printable(listing.folder)}` lists them all.")

    def oddities(self, listing: Listing) -> list[Problem]:
        """Warnings of what is in a split's folder beside its images."""
        said = _ignored(listing)
        return [Problem("data.root", said, severity="warning")] if said else []

    def side(self, train: Listing) -> int:
        """``size``, or what a sample of the files' headers suggests."""
        if self.size is not None:
            return self.size
        sample = train.paths[:: max(1, len(train.paths) // SIZE_SAMPLE)]
        return common_side([side for path in sample if (side := shorter_side(path, self.channels)) is not None])

    def resolved(self) -> Self:
        """With an absolute root."""
        return self.model_copy(update={"root": os.path.abspath(self.folder())})

    def folder(self) -> Path:
        """The root with "~" replaced."""
        return Path(os.path.expanduser(self.root))

    def existing_folder(self) -> Path:
        """``folder``; raises DataError when it isn't one."""
        root = self.folder()
        if not os.path.exists(root):  # os.path: without permission to look, this is False and no error
            raise DataError(
                f"The image folder '{root}' does not exist or can't be reached; set data.root to an "
                f"existing folder (a relative path starts at {Path.cwd()})."
            )
        if not os.path.isdir(root):
            raise DataError(f"'{root}' is a file; set data.root to the folder that holds the images.")
        return root


class Files(Data):
    """Images of the files that ``config`` lists, named by their path relative to its folder.

    ``skipped`` has the unreadable ones. Streamed, an unreadable file stays in its split for training, where another
    image takes its place (see imcswav/imaging/stream.py), and ``readable()`` has the rest.
    """

    config: FilesConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        train, test = self.config.listings()
        train = self.config.distinct(train)
        self.resize, self.folder = self.config.resize, os.path.abspath(self.config.folder())
        self._classes = sorted({*(train.classes or ()), *((test and test.classes) or ())})
        self.class_names = self.config.titles(self._classes)
        side = self.config.side(train)
        files = len(train.paths) + (len(test.paths) if test else 0)
        why = must_stream(self.config.placement, files * self.config.channels * side**2)
        if why:
            self._stream(train, test, side, why)
        else:
            self.train = self._read(train, side, least=2)
            self.test = self._read(test, side, least=1) if test else None
        said = [*map(_ignored, filter(None, (train, test))), self.config.left_out(train, test)]
        self.reading = " ".join(filter(None, [self.reading, *said]))
        self.note = self.reading
        self.mean, self.std = self.config.constants()
        if not self.mean:
            self.measure(self._sample())

    def readable(self) -> Self:
        """Without the streamed images that can't be read."""
        splits = [_readable(split) for split in (self.train, self.test) if split is not None]
        found = copy.copy(self)
        found.train, found.test = splits[0], splits[1] if len(splits) > 1 else None
        return found

    def _sample(self) -> Any:
        images = self.train.images
        if not isinstance(images, Streamed):
            return None
        return images.batches(torch.tensor(blind_subset(len(images), STATISTICS_SAMPLE)).split(256))

    def _stream(self, train: Listing, test: Listing | None, side: int, why: str) -> None:
        self.skipped = skipped = list[tuple[str, str]]()
        images = self._streamed(train, side, skipped, self.config.limit)
        self.train = self._split(train, images, range(len(images)))
        kept = f", and kept in {images.cache.folder}" if images.cache else ""
        self.reading = f"Images: decoded while training ({why}){kept}."
        if test is not None:
            images = self._streamed(test, side, skipped, None)
            self.test = self._split(test, images, range(len(images)))
            images[0]  # a test folder of which nothing can be read is known now, not after the first epoch

    def _streamed(self, listing: Listing, side: int, skipped: list[tuple[str, str]], limit: int | None) -> Streamed:
        settings = self.config
        return Streamed(
            listing.paths, listing.folder, part=listing.part, limit=limit, size=side, channels=settings.channels,
            resize=settings.resize, skipped=skipped,
        )  # fmt: skip

    def _read(self, listing: Listing, side: int, least: int) -> Split:
        settings = self.config
        if len(listing.paths) >= CACHED_FROM:
            skipped = list[tuple[str, str]]()
            cached = self._streamed(listing, side, skipped, settings.limit if least > 1 else None)
            images_NCHW, kept = cached.decoded()
            if cached.cache and not self.reading:
                self.reading = f"Decoded images are kept in {cached.cache.folder.parent}, for later starts."
        else:
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
        return self._split(listing, images_NCHW, kept)

    def _split(self, listing: Listing, images: Tensor | Streamed, kept: Sequence[int]) -> Split:
        root = self.config.folder()
        paths = [listing.paths[index].relative_to(root) for index in kept]
        split = Split(images, [printable(path) for path in paths], files=[os.fspath(path) for path in paths])
        if listing.classes is not None:
            number = {name: index for index, name in enumerate(self._classes)}
            split.labels = torch.tensor([number[listing.classes[index]] for index in kept])
        return split


def common_side(sides: Sequence[int]) -> int:
    """A side in pixels for images of these shorter sides: the smallest, from 8 to 64."""
    return max(8, min([SIZE_LIMIT, *sides]))


def _readable(split: Split) -> Split:
    if not isinstance(split.images, Streamed):
        return split
    kept = split.images.readable()
    if len(kept) == len(split):
        return split
    labels = None if split.labels is None else split.labels[torch.from_numpy(kept)]
    names, files = ([texts[index] for index in kept] for texts in (split.names, split.files))
    return Split(split.images.select(kept), names, labels, files=files)


def _ignored(listing: Listing) -> str:
    return left_out(listing.folder, listing.ignored)
