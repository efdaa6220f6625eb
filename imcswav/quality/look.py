"""One look at a file: everything that is wanted of it, by reading and decoding it once, at reduced size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image
from torch.nn import functional

from imcswav.imaging.opening import check_file
from imcswav.imaging.pixels import Array
from imcswav.imaging.read import thumbnail, why_not

SIDE = 64
"""Pixels of the side at which an image is judged."""
SMALL = 16
"""Pixels of the side of the thumbnail that is kept for the comparison with others."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of an image."""

    content: bytes
    """blake2b of the file's bytes, 16 bytes."""
    phash: int
    """Perceptual hash of 64 bits: which of the 8 × 8 lowest frequencies of the grey image are above their median.

    Source: imagehash.phash, after Zauner 2010, "Implementation and benchmarking of perceptual image hash functions".
    """
    width: int
    height: int
    contrast: float
    """The largest standard deviation of a colour channel, in levels of 255."""
    small: Array
    """uint8 (3, 16, 16), whatever the picture's shape was."""


def look(path: Path) -> Look | str:
    """What a file shows, or, as half a sentence, why it can't be used."""
    try:
        check_file(path)
        with open(path, "rb") as file:
            pixels_CHW, (width, height) = thumbnail(path, file, SIDE)
            file.seek(0)
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    except Exception as error:  # a broken file can make a decoder raise anything
        return why_not(error)
    contrast = float(pixels_CHW.float().std((1, 2), correction=0).max())
    hashed = imagehash.phash(Image.fromarray(pixels_CHW.permute(1, 2, 0).numpy()))
    phash = int.from_bytes(np.packbits(hashed.hash).tobytes())
    small_CHW = functional.avg_pool2d(pixels_CHW.float(), SIDE // SMALL).round().byte().numpy()
    return Look(content, phash, width, height, contrast, small_CHW)
