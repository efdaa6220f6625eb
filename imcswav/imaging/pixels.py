"""Pixels: arrays of any usual shape and type → uint8 tensors (N, C, H, W), and their size and channels.

The DataErrors raised here are half sentences ("the shape … is none of …"); imcswav/imaging/read.py says of what.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imcswav.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]
Resize = Literal["crop", "pad", "stretch"]


def stack(images: Array | Tensor, channels: int | None = None) -> Tensor:
    """A stack of images as uint8 (N, C, H, W), a copy; raises DataError for what can't be images.

    C is whichever of the second and the last axis has length ``channels``, else 1 or 3; the second when both
    have, or neither. Of three axes, what could be one colour image is refused: (N, H, 3), though it may be grey images
    of width 3, and where colours are wanted (3, H, W).
    """
    if isinstance(images, Tensor):
        images = images.detach().cpu()
        images = (images.float() if images.is_floating_point() else images).numpy()
    shape = images.shape
    if images.ndim not in (3, 4) or 0 in shape[1:]:
        raise DataError(f"the shape {shape} is none of (N, H, W), (N, H, W, C) and (N, C, H, W)")
    if images.ndim == 3 and (shape[2] == 3 or shape[0] == channels == 3):
        raise DataError(f"the shape {shape} is one colour image or several grey ones; give (1, …) or (N, H, W, 1)")
    if images.ndim == 3:
        images = images[:, None]
    elif _channels_last(shape, channels):
        images = images.transpose(0, 3, 1, 2)
    return torch.from_numpy(eight_bits(images))


def sides(shape: tuple[int, ...], channels: int | None) -> tuple[int, ...]:
    """Height and width of one image (H, W), (H, W, C) or (C, H, W), the axis of C told as in ``stack``."""
    if len(shape) == 2:
        return shape
    return shape[:2] if _channels_last((1, *shape), channels) else shape[1:]


def _channels_last(shape: tuple[int, ...], channels: int | None) -> bool:
    for usual in ((channels,), (1, 3)):
        if shape[1] in usual or shape[3] in usual:
            return shape[1] not in usual
    if shape[3] in (2, 4) and shape[1] > 4:
        raise DataError(
            f"the last of {shape[3]} channels in the shape {shape} is alpha; leave it out: images[..., :-1]"
        )
    if shape[1] > min(shape[2:]):
        raise DataError(f"it is unclear which axis of the shape {shape} holds the channels; give (N, C, H, W)")
    return False


def eight_bits(values: Array) -> Array:
    """uint8 copy of uint8, bool, uint16 (full range) or float (0 … 1) values, scaled to 0 … 255."""
    kind, scale = values.dtype.kind, {"b": 255.0, "u": 255 / 65535, "f": 255.0}
    if values.dtype == np.uint8:
        return np.array(values, order="C")
    if kind not in scale or (kind == "u" and values.dtype.itemsize != 2):
        raise DataError(f"values of type {values.dtype} are no pixels; give uint8, or floats from 0 to 1")
    if kind == "f" and values.size:
        low, high = values.min(), values.max()
        if not np.isfinite([low, high]).all():
            raise DataError("there are NaN or infinite values; remove them")
        if low < -1e-6 or high > 1 + 1e-6:
            raise DataError(f"floats have to lie in 0 … 1, these span {low:.4g} … {high:.4g}; rescale them")
    result = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), 256):  # in pieces: a float copy of everything is four times as large
        piece = values[start : start + 256].astype(np.float32) * np.float32(scale[kind])
        result[start : start + 256] = np.rint(piece).clip(0, 255)
    return result


def to_channels(images_NCHW: Tensor, channels: int | None) -> Tensor:
    """Grey to RGB or RGB to grey where needed; raises DataError for any other pair of numbers of channels."""
    have = images_NCHW.shape[1]
    if channels in (None, have):
        return images_NCHW
    if have == 1 and channels == 3:
        return images_NCHW.expand(-1, 3, -1, -1)
    if have == 3 and channels == 1:  # luma of ITU-R 601, as Pillow's
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        chunks = torch.split(images_NCHW, 256)
        return torch.cat([(chunk * weights).sum(1, keepdim=True).round().byte() for chunk in chunks])
    raise DataError(f"there are {have} channels and {channels} are wanted")


def fit(images_NCHW: Tensor, size: int, resize: Resize) -> Tensor:
    """Make uint8 images (N, C, H, W) square (N, C, size, size); see the rules in imcswav/imaging/read.py."""
    height, width = images_NCHW.shape[2:]
    target = (size, size)
    if resize == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        images_NCHW = images_NCHW[:, :, top : top + side, left : left + side]
    elif resize == "pad":
        scale = size / max(height, width)
        target = (max(1, round(height * scale)), max(1, round(width * scale)))
    if tuple(images_NCHW.shape[2:]) != target:
        images_NCHW = functional.interpolate(images_NCHW, target, mode="bilinear", antialias=True)
    top, left = (size - target[0]) // 2, (size - target[1]) // 2
    bottom, right = size - target[0] - top, size - target[1] - left
    return functional.pad(images_NCHW, (left, right, top, bottom)).contiguous()
