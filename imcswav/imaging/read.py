"""Images: any file, PIL image or array → uint8 tensors (C, S, S).

Rules, the same for training and prediction:

- transparent images are laid over white; 16-bit values 0 … 65535 become 0 … 255; floats must lie in 0 … 1;
- EXIF orientation is applied, of an animation the first frame is taken, colour profiles are ignored;
- ``resize`` makes an image square: "crop" takes the largest centred square, "pad" adds black, "stretch"
  distorts; scaling is antialiased bilinear;
- 1 or 3 channels come from any format Pillow reads by itself, other numbers from ``.npy`` files (H, W, C);
- over 100 million pixels an image is refused by what its header says, before it is decoded: 50 million of WebP and AVIF
  and 30 million of JPEG 2000, whose decoders hold it several times over, and 4 million where Pillow decodes in Python;
  a JPEG is counted after the decoder's own reduction (up to 8 times a side), except a progressive one, which has to be
  held in full. So an image never takes more than 1 GiB.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from imcswav.errors import DataError
from imcswav.imaging.find import printable
from imcswav.imaging.opening import PIXEL_LIMIT, check_file, check_limit, header, open_image, pixels_of, ready_to_decode
from imcswav.imaging.pixels import Array, Resize, fit, sides, stack, to_channels


def decode(source: Any, *, size: int | None, channels: int | None = 3, resize: Resize = "crop") -> Tensor:
    """One image as uint8 (C, size, size): a path, a file's bytes, a PIL image, or an array (C, H, W) or (H, W[, C]).

    ``size=None`` keeps the shape; ``channels=None`` keeps an array's channels and makes all else RGB.
    Raises DataError naming the source and what is wrong with it.
    """
    try:
        return _decode(source, size, channels, resize)
    except Exception as error:  # a broken file can make a decoder raise anything
        name = printable(source) if isinstance(source, str | os.PathLike) else f"The {type(source).__name__}"
        raise DataError(f"{name} can't be used as an image: {why_not(error)}.") from error


def decode_many(
    paths: Sequence[str | os.PathLike[str]], *, size: int, channels: int = 3, resize: Resize = "crop"
) -> tuple[Tensor, list[int], list[tuple[str, str]]]:
    """Decode files in parallel.

    Gives uint8 (N, C, size, size), the indices of the N readable files, and (path, reason) of the others.

    Raises DataError only when the images don't fit into this machine's memory.
    """
    images_NCHW = empty_images(len(paths), channels, size)

    def read(index: int) -> str:
        image = try_decode(paths[index], size=size, channels=channels, resize=resize)
        if isinstance(image, str):
            return image
        images_NCHW[index] = image
        return ""

    with warnings.catch_warnings(), ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # what Pillow warns of is either harmless or raised and listed
        reasons = list(pool.map(read, range(len(paths))))
    kept = [index for index, reason in enumerate(reasons) if not reason]
    skipped = [(printable(path), reason) for path, reason in zip(paths, reasons, strict=True) if reason]
    return images_NCHW[kept] if skipped else images_NCHW, kept, skipped


def empty_images(count: int, channels: int, size: int) -> Tensor:
    """Room for images, uint8 (count, channels, size, size); raises DataError when the machine hasn't the memory."""
    need, have = count * channels * size * size, physical_memory()
    if need > have:
        raise DataError(
            f"{count} images of {channels}×{size}×{size} need {need / 1e9:.1f} GB of memory and this "
            f"machine has {have / 1e9:.1f}; use fewer (limit) or smaller (size) ones."
        )
    return torch.empty(count, channels, size, size, dtype=torch.uint8)


def try_decode(source: Any, *, size: int, channels: int, resize: Resize) -> Tensor | str:
    """One image as ``decode`` gives it, or, as half a sentence, why it can't be used."""
    try:
        return _decode(source, size, channels, resize)
    except Exception as error:  # as in decode
        return why_not(error)


def why_not(error: Exception) -> str:
    """Why an image can't be used, as half a sentence."""
    match error:
        case DataError():
            return str(error)
        case UnidentifiedImageError():
            return "it is no image that Pillow reads"
        case FileNotFoundError():
            return "the file is not there (a broken link?)"
        case OSError(errno=errno.ELOOP):
            return "it is a link that leads round in a circle"
        case PermissionError():
            return "reading it is not permitted"
        case Image.DecompressionBombError():
            return f"its pixels are over the limit of {PIXEL_LIMIT:,}"
        case _:
            text = " ".join(str(error).split()).rstrip(".")
            return f"decoding fails ({type(error).__name__}{': ' if text else ''}{text})"


def thumbnail(path: Path, file: BinaryIO, size: int) -> tuple[Tensor, tuple[int, int]]:
    """A file stretched to uint8 (3, size, size), and width and height of the whole picture as it is to be seen.

    ``file`` is the file at ``path``, opened at its start; it is decoded once, no larger than needed. Raises whatever
    a decoder raises, see ``why_not``.
    """
    if path.suffix.lower() == ".npy":
        pixels_CHW = _read(path, size, 3)
        full = pixels_CHW.shape[2], pixels_CHW.shape[1]
    else:
        image = header(file, path.suffix.lower())
        full = image.size
        reduced = ready_to_decode(image, size)
        stored = reduced.size
        pixels_CHW = pixels_of(reduced, 3)
        if tuple(pixels_CHW.shape[:0:-1]) != stored:  # the camera was held upright
            full = full[::-1]
    return fit(to_channels(pixels_CHW[None], 3), size, "stretch")[0], full


def to_images(images: Any, *, size: int | None = None, channels: int | None = None, resize: Resize = "crop") -> Tensor:
    """Many images as uint8 (N, C, S, S).

    ``images`` is an array or tensor (N, H, W), (N, H, W, C) or (N, C, H, W), or an iterable of what
    ``decode`` takes; ``stack`` in imcswav/imaging/pixels.py says how the axis of C is told.
    ``size=None`` keeps the shorter side, ``channels=None`` the channels. Raises DataError for anything else.
    """
    if isinstance(images, np.ndarray | Tensor):
        try:
            batch_NCHW = to_channels(stack(images, channels), channels)
        except DataError as error:
            raise DataError(f"The {type(images).__name__} can't be taken as images: {error}.") from error
    elif isinstance(images, Iterable) and not isinstance(images, str | bytes | os.PathLike | Image.Image | dict):
        each = [decode(image, size=size, channels=channels, resize=resize) for image in images]
        if len(shapes := sorted({tuple(image.shape) for image in each})) > 1:
            raise DataError(f"The images differ in shape (C, H, W): {shapes[0]} and {shapes[-1]}; give size=.")
        batch_NCHW = torch.stack(each) if each else torch.empty(0, 3, 1, 1, dtype=torch.uint8)
    else:
        raise DataError(
            f"A {type(images).__name__} can't be taken as images; give an array or tensor (N, H, W), "
            f"(N, H, W, C) or (N, C, H, W), or a list of paths, PIL images or arrays."
        )
    if not len(batch_NCHW):
        raise DataError("There are no images: the list or array is empty; give at least one.")
    side = size or min(batch_NCHW.shape[2:])
    return torch.cat([fit(chunk, side, resize) for chunk in torch.split(batch_NCHW, 1024)])


def shorter_side(source: Path | bytes, channels: int | None = None) -> int | None:
    """Pixels of an image's shorter side, from the header of a file or its bytes; None when it can't be read.

    ``channels`` tells the axes of an ``.npy`` file.
    """
    suffix = "" if isinstance(source, bytes) else source.suffix.lower()
    try:
        if not isinstance(source, bytes):
            check_file(source)
            if suffix == ".npy":
                return min(sides(np.load(source, mmap_mode="r", allow_pickle=False).shape, channels))
        with BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return min(open_image(file, suffix, None).size)
    except Exception:  # as in decode; the file is named later, when it is to be decoded
        return None


def physical_memory() -> float:
    """Bytes of main memory, infinite where the system doesn't tell."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return float("inf")


def _decode(source: Any, size: int | None, channels: int | None, resize: Resize) -> Tensor:
    if isinstance(source, str | os.PathLike):
        image_CHW = _read(Path(source), size, channels)
    elif isinstance(source, bytes):
        image_CHW = pixels_of(open_image(BytesIO(source), "", size), channels or 3)
    elif isinstance(source, Image.Image):
        image_CHW = pixels_of(source, channels or 3)
    elif isinstance(source, np.ndarray | Tensor):
        image_CHW = _from_array(source, channels)
    else:
        raise DataError("it is neither a path, a PIL image, an array nor a tensor")
    image_CHW = to_channels(image_CHW[None], channels)[0]
    return fit(image_CHW[None], size, resize)[0] if size else image_CHW.contiguous()


def _read(path: Path, size: int | None, channels: int | None) -> Tensor:
    check_file(path)
    if path.suffix.lower() == ".npy":
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: nothing is read before the check
        check_limit(values.size, "values", PIXEL_LIMIT)
        return _from_array(np.asarray(values), channels)
    with open(path, "rb") as file:
        return pixels_of(open_image(file, path.suffix.lower(), size), channels or 3)


def _from_array(values: Array | Tensor, channels: int | None) -> Tensor:
    """Pixels (C, H, W) of one array."""
    if values.ndim not in (2, 3):
        raise DataError(f"the shape {tuple(values.shape)} is none of (H, W), (H, W, C) and (C, H, W)")
    if values.ndim == 2:
        return stack(values[None, None], 1)[0]
    return stack(values[None], channels)[0]
