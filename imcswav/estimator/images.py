"""X as scikit-learn's users hand it over → what imcswav/imaging/read.py takes."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from imcswav.data.array import FILE_SIZE, all_paths, each_image
from imcswav.errors import DataError
from imcswav.imaging.pixels import Array, Resize
from imcswav.imaging.read import decode_many, to_images

SHOWN = 3
"""Unreadable files that an error names."""


def one_by_one(X: Any) -> Iterator[Any] | None:
    """The images of a list, a Dataset or a column of paths, labels left out; None where X is a table of numbers.

    Raises DataError, while it goes on, for items that are neither images nor pairs (image, label).
    """
    column = getattr(X, "ndim", 0) == 1 and len(X) and all_paths([np.asarray(X)[0]])  # of numpy or pandas
    if column:
        X = list(X)
    items = isinstance(X, list | tuple) and len(X) and _is_item(X[0])
    return each_image(X, []) if items or isinstance(X, Dataset) else None


def _is_item(item: Any) -> bool:
    if isinstance(item, list | tuple):  # a pair, or a row of numbers
        return bool(item) and _is_item(item[0])
    return isinstance(item, str | os.PathLike | Image.Image | bytes) or getattr(item, "ndim", 0) >= 2


def decoded(given: Array | Iterator[Any], *, size: int | None, channels: int | None, resize: Resize) -> Tensor:
    """Images as uint8 (N, C, S, S), one for each given; files are decoded in parallel.

    Raises DataError where one can't be read: other than a run, an estimator has a label for every image.
    """
    if isinstance(given, np.ndarray):
        return to_images(given, size=size, channels=channels, resize=resize)
    first = list(itertools.islice(given, 1))
    if not all_paths(first):
        return to_images(itertools.chain(first, given), size=size, channels=channels, resize=resize)
    paths = first + list(given)
    images_NCHW, _, skipped = decode_many(paths, size=size or FILE_SIZE, channels=channels or 3, resize=resize)
    if skipped:
        named = "; ".join(f"{path}: {reason}" for path, reason in skipped[:SHOWN])
        raise DataError(f"{len(skipped)} of {len(paths)} files can't be read ({named}); leave them out.")
    return images_NCHW


def unflatten(flat_NP: Array, shape: Sequence[int] | None) -> Array:
    """Rows of values as images of this shape; without one, as square grey images. Raises ValueError where none fit."""
    count, width = flat_NP.shape
    if shape is None:
        side = math.isqrt(width)
        if side * side != width:
            raise ValueError(f"{width} values an image make no square; give image_shape, such as (3, 32, 32).")
        shape = (side, side)
    try:
        return flat_NP.reshape(count, *shape)
    except ValueError as error:
        raise ValueError(f"{width} values an image don't fill image_shape={tuple(shape)}; correct it.") from error


def value_range(images: Array) -> tuple[float, float] | None:
    """Smallest and largest value where pixels have a range of their own; None for uint8, uint16, bool and 0 … 1."""
    if images.dtype in (np.uint8, np.uint16, np.bool_):
        return None
    low, high = float(images.min()), float(images.max())
    return None if images.dtype.kind == "f" and low >= 0 and high <= 1 else (low, high)


def rescaled(images: Array, limits: tuple[float, float] | None) -> Array:
    """The values of ``limits`` as 0 … 1, float32, others clipped; unchanged where there are none."""
    if limits is None:
        return images
    low, high = limits
    scaled: Array = ((images.astype(np.float64) - low) / ((high - low) or 1)).astype(np.float32)
    return scaled.clip(0, 1)
