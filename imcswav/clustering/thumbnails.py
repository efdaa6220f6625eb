"""Small pictures of a clustering's images, made once, while the images are at hand: ``clustering/thumbnails.zip``.

Sheets of tiles for the map of a report, and larger pictures of the images that its gallery shows. Later edits may show
others, which then have a tile or nothing.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imcswav.clustering import Clustering
from imcswav.clustering.store import FOLDER
from imcswav.files import write_atomically

FILE = "thumbnails.zip"
TILE = 48
"""Largest side of a tile in pixels, a multiple of 16: JPEG's blocks then lie within tiles."""
LARGE = 128
"""Largest side of a larger picture in pixels."""
SIDE = 16
"""Tiles a row and rows a sheet."""
COUNT = 10_000
"""Most images that get a tile."""
REPRESENTATIVES, BORDERLINE = 12, 8
"""Images of each cluster that get a larger picture, where ``COUNT`` allows."""
QUALITY = 80
"""Of JPEG."""


@dataclass(frozen=True)
class Thumbnails:
    """What was kept: JPEG files, as bytes."""

    tile: int
    """Side of a tile in pixels."""
    images: Sequence[int]
    """Image of each tile, row by row, sheet after sheet: those of the gallery first, then a random sample."""
    sheets: Sequence[bytes]
    large: dict[int, bytes]
    """Larger pictures by image, those that say most first."""


def make_thumbnails(clustering: Clustering, run: Path, images: Iterable[Any] = ()) -> None:
    """Write the thumbnails of a clustering into its run.

    Pictures come from the files; where the images are none, or arrays, from ``images``, N tensors or arrays uint8
    (C, H, W) in the clustering's order. Of more than 3 channels the first three are shown. What can't be read has no
    picture. Raises OSError.
    """
    gallery, shown = choose(clustering)
    files = [image for image in shown if _is_picture(clustering.file(image))]
    arrays = set(shown).difference(files)
    pictures = itertools.chain(_from_files(clustering, files), _from_arrays(images, arrays) if arrays else ())
    large: dict[int, bytes] = {}
    tiles: dict[int, Image.Image] = {}
    wanted = set(gallery)
    for image, picture in pictures:
        tiles[image] = picture.resize((TILE, TILE), Image.Resampling.BICUBIC) if picture.width > TILE else picture
        if image in wanted:
            large[image] = _jpeg(picture)
    found = [image for image in shown if image in tiles]
    tile = min(TILE, 16 * -(-max((one.width for one in tiles.values()), default=TILE) // 16))
    sheets = [_sheet([tiles[image] for image in part], tile) for part in _parts(found, SIDE * SIDE)]
    _save(run, Thumbnails(tile, found, sheets, {image: large[image] for image in gallery if image in large}))


def load_thumbnails(run: Path) -> Thumbnails | None:
    """The thumbnails of a run; None where there are none that can be read."""
    try:
        with zipfile.ZipFile(run / FOLDER / FILE) as archive:
            index = json.loads(archive.read("index.json"))
            sheets = [archive.read(f"sheet-{number}.jpg") for number in range(index["sheets"])]
            large = {int(image): archive.read(f"large-{image}.jpg") for image in index["large"]}
        return Thumbnails(index["tile"], index["images"], sheets, large)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def choose(clustering: Clustering, count: int = COUNT) -> tuple[list[int], list[int]]:
    """Images of the gallery, rank by rank over all clusters, and at most ``count`` of all: these, then a sample."""
    ranks = [
        [*clustering.representatives(cluster, REPRESENTATIVES), *clustering.borderline(cluster, BORDERLINE)]
        for cluster in clustering.ids
    ]
    longest = max(map(len, ranks), default=0)
    by_rank = (int(of[rank]) for rank in range(longest) for of in ranks if rank < len(of))
    gallery = list(dict.fromkeys(by_rank))[:count]
    order = np.random.default_rng(0).permutation(len(clustering)).tolist()
    return gallery, list(dict.fromkeys([*gallery, *order]))[:count]


def _is_picture(path: Path | None) -> bool:
    return path is not None and path.suffix.lower() != ".npy"


def _from_files(clustering: Clustering, shown: Sequence[int]) -> Iterator[tuple[int, Image.Image]]:
    from imcswav.imaging.read import shorter_side, try_decode

    def read(image: int) -> Image.Image | None:
        path = clustering.file(image)
        assert path is not None
        side = min(LARGE, shorter_side(path) or LARGE)
        picture = try_decode(path, size=side, channels=3, resize="crop")
        return None if isinstance(picture, str) else Image.fromarray(picture.permute(1, 2, 0).numpy())

    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        for part in _parts(shown, 256):
            yield from ((i, picture) for i, picture in zip(part, pool.map(read, part), strict=True) if picture)


def _from_arrays(images: Iterable[Any], wanted: set[int]) -> Iterator[tuple[int, Image.Image]]:
    for image, pixels in enumerate(images):
        if image not in wanted:
            continue
        pixels_CHW = np.asarray(pixels.cpu() if hasattr(pixels, "cpu") else pixels, np.uint8)
        colour = len(pixels_CHW) >= 3
        picture = Image.fromarray(pixels_CHW[:3].transpose(1, 2, 0) if colour else pixels_CHW[0]).convert("RGB")
        if picture.width > LARGE:
            picture = picture.resize((LARGE, LARGE), Image.Resampling.BICUBIC)
        yield image, picture


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _sheet(tiles: Sequence[Image.Image], tile: int) -> bytes:
    sheet = Image.new("RGB", (SIDE * tile, -(-len(tiles) // SIDE) * tile), "white")
    for place, picture in enumerate(tiles):
        small = picture if picture.width == tile else picture.resize((tile, tile), Image.Resampling.BICUBIC)
        sheet.paste(small, (place % SIDE * tile, place // SIDE * tile))
    return _jpeg(sheet)


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


def _save(run: Path, made: Thumbnails) -> None:
    index = {"tile": made.tile, "images": made.images, "sheets": len(made.sheets), "large": [*made.large]}

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w") as archive:  # stored: JPEG is as small as it gets
            archive.writestr("index.json", json.dumps(index))
            for number, sheet in enumerate(made.sheets):
                archive.writestr(f"sheet-{number}.jpg", sheet)
            for image, picture in made.large.items():
                archive.writestr(f"large-{image}.jpg", picture)

    (run / FOLDER).mkdir(parents=True, exist_ok=True)
    write_atomically(run / FOLDER / FILE, write)
