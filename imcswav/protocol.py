"""What is trained on and what is scored: ``[evaluation] train_on``.

Two protocols are in use, and their figures can't be compared with each other:

- T, ``train_on = "train"``: trained on the training split, scored on the test split (on the training split where it
  is the only one).
- A, ``train_on = "train+test"``: trained on both splits together, every one of these images scored.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from imcswav.data import Data, DataFacts, Images, Split
from imcswav.errors import DataError
from imcswav.imaging.prefetch import Fetched, InMemory
from imcswav.recipe import Recipe

ONE_SPLIT = "The data have no test split that could be trained on too."
ONE_SPLIT_REMEDY = 'Leave out evaluation.train_on = "train+test": their one split is trained on and scored anyway.'


@dataclass
class JoinedSplit(Split):
    """Training images, then test images; the first ``first`` are the training split's."""

    first: int = 0


class JoinedImages(Fetched):
    """Images of several sources that aren't tensors, one after the other; nothing is copied."""

    depth = 4
    workers = min(8, os.cpu_count() or 1)
    chunk = 16

    def __init__(self, parts: Sequence[Fetched]) -> None:
        count = sum(len(part) for part in parts)
        super().__init__((count, *parts[0].shape[1:]), parts[0].device)
        self.parts = parts

    def read_into(self, rows: Tensor, out: Tensor) -> None:
        """Each row from the source that has it."""
        start = 0
        for part in self.parts:
            here = ((rows >= start) & (rows < start + len(part))).nonzero().flatten()
            if len(here) == len(rows):
                part.read_into(rows - start, out)
            elif len(here):
                images = torch.empty((len(here), *out.shape[1:]), dtype=out.dtype)
                part.read_into(rows[here] - start, images)
                out[here] = images
            start += len(part)

    def checksum(self) -> str:
        """The sources' own, in order."""
        return "+".join(part.checksum() for part in self.parts)


class Joined(Data):
    """Both splits of a data set as one training split, without a test split.

    ``mean`` and ``std`` stay those of the training split. Names stay, unless one occurs in both splits: then all get
    "train/" or "test/" before them. A split without labels has them unknown.
    """

    def __init__(self, source: Data) -> None:
        super().__init__(source.config)
        self.train = _join(source)
        # kept where meeting files tells which can be read; tensors would be held in memory twice
        self.source = source if isinstance(self.train.images, Fetched) else None
        self.class_names, self.mean, self.std = source.class_names, source.mean, source.std
        self.folder = source.folder
        self.resize, self.skipped, self.note, self.reading = source.resize, source.skipped, source.note, source.reading

    def readable(self) -> Self:
        """Without the streamed images of either split that can't be read."""
        if self.source is None:
            return self
        found = type(self)(self.source.readable())
        found.train = dataclasses.replace(found.train, images=found.train.images.to(self.train.images.device))
        return found


def training_data(recipe: Recipe, data: Data | None = None) -> Data:
    """The recipe's data, or those handed over, with the training split that its protocol asks for; raises DataError."""
    source: Data = data or recipe.data.build()
    if recipe.evaluation.train_on == "train" or isinstance(source, Joined):
        return source
    return Joined(source)


def training_facts(recipe: Recipe, facts: DataFacts) -> DataFacts:
    """The facts of what the protocol trains on; the number of images is None where either split's is unknown."""
    if recipe.evaluation.train_on == "train":
        return facts
    counts = (facts.images, facts.test_images)
    images = None if None in counts else sum(count or 0 for count in counts)
    return dataclasses.replace(facts, images=images, test_images=0)


def split_name(split: Split, name: str) -> str:
    """What a split is called where figures are reported: "train+test" for both together, else ``name``."""
    return "train+test" if isinstance(split, JoinedSplit) else name


def origins(split: Split, name: str) -> list[str]:
    """The split that each image came from."""
    if not isinstance(split, JoinedSplit):
        return [name] * len(split)
    return ["train"] * split.first + ["test"] * (len(split) - split.first)


def describe(train: str, scored: str) -> str:
    """The protocol in words."""
    return f"trained and scored on {train}" if train == scored else f"trained on {train}, scored on {scored}"


def _join(source: Data) -> JoinedSplit:
    if source.test is None:
        raise DataError(f"{ONE_SPLIT} {ONE_SPLIT_REMEDY}")
    train, test = source.train, source.test
    names = [*train.names, *test.names]
    if set(train.names) & set(test.names):
        names = [f"train/{name}" for name in train.names] + [f"test/{name}" for name in test.names]
    subsets = {
        name: torch.cat([split.subsets.get(name, torch.zeros(len(split), dtype=torch.bool)) for split in (train, test)])
        for name in {**train.subsets, **test.subsets}
    }
    return JoinedSplit(
        _images(train.images, test.images), names, _labels(train, test), subsets,
        files=[*train.files, *test.files], first=len(train),
    )  # fmt: skip


def _images(train: Images, test: Images) -> Images:
    if isinstance(train, Tensor) and isinstance(test, Tensor):
        return torch.cat([train, test])
    return JoinedImages([InMemory(x, x.device) if isinstance(x, Tensor) else x for x in (train, test)])


def _labels(train: Split, test: Split) -> Tensor | None:
    if train.labels is None and test.labels is None:
        return None
    known = [torch.full((len(split),), -1) if split.labels is None else split.labels.cpu() for split in (train, test)]
    return torch.cat(known)
