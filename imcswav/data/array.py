"""Images handed over from Python: ``imcswav.run(recipe, data=images)``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from imcswav.data import Data, DataFacts, Split
from imcswav.errors import DataError
from imcswav.imaging.find import printable
from imcswav.imaging.pixels import Resize
from imcswav.imaging.read import decode_many, to_images
from imcswav.plugins import hookimpl

FILE_SIZE = 64
HANDED_OVER = "The images of this recipe are handed over from Python: imcswav.run(recipe, data=images)."


class ArrayData(Data, name="array"):
    """One split from memory; build with ``ArrayData.of(images)``.

    ``data`` is an array or tensor (N, H, W), (N, H, W, C) or (N, C, H, W) of uint8 or floats in [0, 1]; a
    list of paths, PIL images or arrays; or a torch Dataset. Items of the last two may be pairs (image,
    label): integer labels then are ground truth, as are ``labels``. Raises DataError for anything else.
    """

    class Config(Data.Config):
        size: int | None = Field(None, ge=8, le=1024)
        """Side in pixels; unset brings files to 64 and keeps the shorter side of arrays and PIL images."""
        channels: int | None = Field(None, ge=1, le=64)
        """Channels; unset keeps those of arrays, and makes files and PIL images RGB."""
        resize: Resize = "crop"
        """How an image becomes square: cut to the largest centred square, padded with black, or stretched."""

        def facts(self) -> DataFacts:
            """Raises DataError: nothing is known without the images."""
            raise DataError(HANDED_OVER)

    config: Config

    def __init__(self, config: Any, *, data: Any = None, labels: Any = None) -> None:
        super().__init__(config)
        if data is None:
            raise DataError(HANDED_OVER)
        self.resize = self.config.resize
        self.train = self._split(data, labels)
        if len(self.train) < 2:
            raise DataError("There is only one image to cluster; give at least two.")
        self.measure()

    @classmethod
    def of(cls, data: Any, labels: Any = None, **settings: Any) -> Self:
        """The data set of these images; ``settings`` are the Config's."""
        built: Self = cls.Config(**settings).build(data=data, labels=labels)
        return built

    def _split(self, data: Any, labels: Any) -> Split:
        found: list[Any] = []
        if isinstance(data, list | tuple | Dataset):
            items = each_image(data, found)
            first = list(itertools.islice(items, 1))
            data = itertools.chain(first, items)
            if all_paths(first):  # paths are small: they can be looked at together, and read in parallel
                data = list(data)
                if all_paths(data):
                    return self._from_paths(data, _truth(labels, found, len(data)))
        images_NCHW = to_images(data, **self.config.model_dump(include={"size", "channels", "resize"}))
        names = [str(index) for index in range(len(images_NCHW))]
        return Split(images_NCHW, names, _truth(labels, found, len(names)))

    def _from_paths(self, paths: Any, truth_N: Tensor | None) -> Split:
        size, channels = self.config.size or FILE_SIZE, self.config.channels or 3
        images_NCHW, kept, skipped = decode_many(paths, size=size, channels=channels, resize=self.config.resize)
        self.skipped = skipped
        if not kept:
            raise DataError(f"None of {len(paths)} files can be read ({skipped[0][0]}: {skipped[0][1]}).")
        names = [printable(paths[index]) for index in kept]
        return Split(images_NCHW, names, None if truth_N is None else truth_N[kept])


def each_image(items: Any, labels: list[Any]) -> Iterator[Any]:
    """The images of a list or Dataset one by one, so that one at a time is undecoded; sets labels aside."""
    for item in (items[index] for index in range(len(items))) if hasattr(items, "__len__") else items:
        if isinstance(item, tuple | list):
            if not 1 <= len(item) <= 2:
                raise DataError(f"An item has {len(item)} parts; items are images or pairs (image, label).")
            labels.extend(item[1:])
            yield item[0]
        else:
            yield item


def all_paths(items: list[Any]) -> bool:
    """Whether there is an item and every one is a path."""
    return bool(items) and all(isinstance(item, str | os.PathLike) for item in items)


def _whole(label: Any) -> bool:
    if isinstance(label, Tensor | np.ndarray) and label.ndim == 0:
        label = label.item()
    return isinstance(label, int | np.integer)


def _truth(labels: Any, found: list[Any], count: int) -> Tensor | None:
    """The labels handed over, else those ``found`` beside the images when every image has a whole number."""
    if labels is None and len(found) == count and all(map(_whole, found)):
        labels = [int(label) for label in found]
    if labels is None:
        return None
    values = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if values.shape != (count,) or values.dtype.kind not in "iub":
        raise DataError(
            f"Labels have to be {count} integers, one an image; "
            f"these have type {values.dtype} and shape {values.shape}."
        )
    return torch.from_numpy(values.astype(np.int64))


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [ArrayData]
