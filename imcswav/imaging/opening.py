"""Image files as Pillow opens them: what a header says, limits of size, pixels upright in 8 bits.

Rules and limits stand in imcswav/imaging/read.py. The DataErrors raised here are half sentences.
"""

from __future__ import annotations

import stat
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin
from torch import Tensor

from imcswav.errors import DataError
from imcswav.imaging.pixels import Array, eight_bits

PIXEL_LIMIT = 100_000_000
LIMITS = {"AVIF": 50_000_000, "JPEG2000": 30_000_000, "WEBP": 50_000_000}
SLOW_DECODERS, SLOW_LIMIT = {"BLP1", "BLP2", "dds_rgb", "qoi"}, 4_000_000
"""Decoders that Pillow has in Python: a second or more a million pixels, however small the file is."""
BAND = 1_000_000
"""Pixels that are converted at a time."""
# formats Pillow names but can't decode by itself; EPS would start Ghostscript on a stranger's file, IPTC may wrap one
NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}


def check_file(path: Path) -> None:
    """Raise DataError for what must not even be opened, such as a pipe, and for an empty file; half a sentence."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError("it is no regular file")
    if not status.st_size:
        raise DataError("the file is empty")


def open_image(file: BinaryIO, suffix: str, size: int | None) -> Image.Image:
    """Open without decoding; a JPEG will be decoded no larger than needed for twice ``size``."""
    return ready_to_decode(header(file, suffix), size)


def header(file: BinaryIO, suffix: str) -> Image.Image:
    """What a file says of itself, in full size and with no limit but Pillow's."""
    jpeg = file.read(3) == b"\xff\xd8\xff"
    file.seek(0)
    if jpeg:  # not by Image.open, which refuses a huge one before it can be reduced
        return JpegImagePlugin.JpegImageFile(file)
    known = formats()
    first = known.get(suffix)
    order = ([first] if first else []) + sorted(set(known.values()) - {first})
    return Image.open(file, formats=order)


def ready_to_decode(image: Image.Image, size: int | None) -> Image.Image:
    """Ready to be decoded, a JPEG by its decoder's own reduction; raises DataError over the limit."""
    full = image.width * image.height
    if size and isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft(None, (2 * size, 2 * size))
    check_limit(full if "progressive" in image.info else image.width * image.height, "pixels", _limit(image))
    return image


def _limit(image: Image.Image) -> int:
    """Most pixels of an image that isn't decoded yet."""
    slow = any(tile[0] in SLOW_DECODERS for tile in getattr(image, "tile", ()))
    return min(PIXEL_LIMIT, SLOW_LIMIT if slow else LIMITS.get(image.format or "", PIXEL_LIMIT))


def check_limit(count: int, what: str, limit: int) -> None:
    """Raise DataError where there are more than ``limit``."""
    if count > limit:
        raise DataError(f"its {count:,} {what} are over the limit of {limit:,}")


def pixels_of(image: Image.Image, channels: int) -> Tensor:
    """Pixels (C, H, W) with C = 1 or 3."""
    if channels not in (1, 3):
        raise DataError(f"it has 1 or 3 channels and {channels} are wanted; store those as .npy files (H, W, C)")
    told = image.size
    image.load()
    if image.size != told:  # an icon's picture
        check_limit(image.width * image.height, "pixels", PIXEL_LIMIT)
    image = _upright(image)
    pixels_HWC = np.empty((image.height, image.width, channels), np.uint8)
    rows = max(1, BAND // max(1, image.width))
    for top in range(0, image.height, rows):  # copies of a whole large picture would need several times its memory
        bottom = min(top + rows, image.height)
        pixels_HWC[top:bottom] = _band(image.crop((0, top, image.width, bottom)), channels)
    return torch.from_numpy(pixels_HWC).permute(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    """As the camera was held."""
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:  # malformed EXIF: the picture is good, only its orientation is unknown
        return image


def _band(image: Image.Image, channels: int) -> Array:
    """Pixels (H, W, C) of a decoded image, uint8."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if values.dtype.kind == "i":  # Pillow's "I" has 32 bits and holds 16
            if values.min() < 0 or values.max() > 65535:
                raise DataError(f"its values {values.min()} … {values.max()} are outside 0 … 65535")
            values = values.astype(np.uint16)
        clear = image.info.get("transparency")
        if values.dtype == np.uint16 and clear is not None:  # of grey PNGs; what is made of the values forgets it
            values = np.where(values == clear, np.uint16(65535), values)
        image = Image.fromarray(eight_bits(values[None])[0])
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(image.height, image.width, channels)


@cache
def formats() -> dict[str, str]:
    """Format by extension, of every format Pillow decodes by itself."""
    Image.init()
    extensions = Image.registered_extensions()
    return {ext: name for ext, name in extensions.items() if name in Image.OPEN and name not in NOT_DECODED}
