"""X as scikit-learn's users hand it over → what imcswav/imaging/read.py takes."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from imcswav.data.array import FILE_SIZE, all_paths, each_image
from imcswav.errors import DataError
from imcswav.imaging.pixels import Array, Resize
from imcswav.imaging.read import decode_many, to_images

FIXED = (np.uint8, np.uint16, np.bool_)
"""Types of pixels whose black and white are known."""
SHOWN = 3
"""Unreadable files that an error names."""


def one_by_one(X: Any) -> list[Any] | Iterator[Any] | None:
    """The images of a list or column of paths, or of a Dataset as it goes on, labels left out; None for other X.

    Raises DataError for items that are neither images nor pairs (image, label).
    """
    # a column of paths, of numpy or pandas
    if hasattr(X, "__array__") and getattr(X, "ndim", 0) in (1, 2) and X.shape[1:] in ((), (1,)) and len(X):
        column = np.asarray(X).ravel()
        if all_paths([column[0]]):
            X = column.tolist()
    if isinstance(X, list | tuple) and len(X) and _is_item(X[0]):
        return list(each_image(X, []))
    return each_image(X, []) if isinstance(X, Dataset) else None


def stacked(items: Any) -> Array | None:
    """A list of arrays or tensors of one shape and type as one array; None for anything else."""
    if not isinstance(items, list) or not all(map(_is_array, items)):
        return None
    arrays = [numbers_of(item) for item in items]
    return np.stack(arrays) if len({(array.shape, array.dtype) for array in arrays}) == 1 else None


def numbers_of(X: Any) -> Array:
    """A tensor as an array; an array as it is."""
    if isinstance(X, Tensor):
        X = (X.float() if X.is_floating_point() else X).detach().cpu().numpy()
    return np.asarray(X)


def _is_array(item: Any) -> bool:
    return isinstance(item, np.ndarray | Tensor)


def _is_item(item: Any) -> bool:
    if isinstance(item, list | tuple):  # a pair, or a row of numbers
        return bool(item) and _is_item(item[0])
    return isinstance(item, str | os.PathLike | Image.Image | bytes) or getattr(item, "ndim", 0) >= 2


def decoded(given: Array | Iterable[Any], *, size: int | None, channels: int | None, resize: Resize) -> Tensor:
    """Images as uint8 (N, C, S, S), one for each given; files are decoded in parallel.

    Raises DataError where one can't be read: other than a run, an estimator has a label for every image.
    """
    if isinstance(given, np.ndarray):
        if given.ndim == 4 and given.shape[1] == 1 and given.shape[3] == channels == 3:
            shape = given.shape[1:]
            raise DataError(
                f"Images of shape {shape} are in colour and 1 px high, or grey and 3 px wide; give larger ones, or "
                f"another image_shape."
            )
        return to_images(given, size=size, channels=channels, resize=resize)
    items = iter(given)
    first = list(itertools.islice(items, 1))
    if not all_paths(first):
        return to_images(itertools.chain(first, items), size=size, channels=channels, resize=resize)
    paths = first + list(items)
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
    if not isinstance(shape, Sequence | np.ndarray):
        raise TypeError(f"image_shape has to be (H, W), (H, W, C) or (C, H, W), not {shape!r}.")
    try:
        images = flat_NP.reshape(count, *shape)
    except ValueError as error:
        raise ValueError(f"{width} values an image don't fill image_shape={tuple(shape)}; correct it.") from error
    grey_of_width_3 = images.ndim == 3 and images.shape[2] == 3  # a stack of them has the shape of one in colour
    return images[:, None] if grey_of_width_3 else images


def value_range(images: Iterable[Any]) -> tuple[float, float] | None:
    """Smallest and largest value where pixels have a range of their own; None for uint8, uint16, bool and 0 … 1.

    Of all arrays together; files and PIL images, which have a range by themselves, don't count. Raises DataError where
    some arrays have the range of their type and others one of their own.
    """
    arrays = [numbers_of(image) for image in images if _is_array(image)]
    fixed = [array for array in arrays if array.dtype in FIXED]
    spans = [(array, array.min(), array.max()) for array in arrays if array.dtype not in FIXED]
    wide = [array for array, low, high in spans if array.dtype.kind != "f" or not (low >= 0 and high <= 1)]
    if not wide:
        return None
    black, white = float(min(low for _, low, _ in spans)), float(max(high for *_, high in spans))
    if white > 1 and any(array.dtype.kind != "f" for array in wide):  # among floats they may be dark images
        fixed += [array for array, low, high in spans if array.dtype.kind == "f" and low >= 0 and high <= 1]
    if fixed:
        raise DataError(
            f"Some images are {fixed[0].dtype}{'' if fixed[0].dtype in FIXED else ' in 0 … 1'}, others {wide[0].dtype} "
            f"in {black:g} … {white:g}, and what of those is as black or white isn't known; give all in one type, or "
            f"floats in 0 … 1."
        )
    return black, white


def rescaled(images: Any, limits: tuple[float, float] | None) -> Any:
    """An array's values of ``limits`` as 0 … 1, float32, others clipped; without limits, or no array, as it is."""
    if limits is None or not _is_array(images):
        return images
    low, high = limits
    scaled: Array = ((numbers_of(images).astype(np.float64) - low) / ((high - low) or 1)).astype(np.float32)
    return scaled.clip(0, 1)
