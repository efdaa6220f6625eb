"""Look at every file of a folder once, and say which images distort clusters."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from imcswav.imaging.find import printable
from imcswav.progress import Advance, stage
from imcswav.quality.duplicates import leaders
from imcswav.quality.look import Look, look

TINY = 16
"""An image with a shorter side of fewer pixels is tiny."""
BLANK = 2.0
"""An image of less contrast, in levels of 255, is blank."""
DISTANCE, LIKENESS = 6, 0.99
"""Bits of the perceptual hash in which duplicates may differ, and the correlation they must have; measured on images
saved anew, made smaller or brighter on the one hand, and on digits and CIFAR-10 without duplicates on the other."""
CHUNK = 16
"""Files that one thread takes at a time."""


@dataclass(frozen=True)
class Duplicate:
    """An image that shows the same as another one, by their places among the files."""

    image: int
    of: int
    """The largest of those that show the same, of these the first by name; it is no duplicate itself."""
    exact: bool
    """Whether the files are the same byte for byte."""


@dataclass(frozen=True)
class Inspection:
    """What was found, by place among the N files; everything but ``paths`` is made from the looks at them."""

    paths: Sequence[Path]
    names: Sequence[str]
    """Paths relative to the root, as any file can hold them."""
    seen: dict[int, Look] = field(repr=False)
    """The files that are images."""
    broken: dict[int, str]
    """Why the others can't be used, as half a sentence."""
    duplicates: Sequence[Duplicate]

    @cached_property
    def tiny(self) -> list[int]:
        """Images with a shorter side of less than 16 pixels; a hint, no reason to leave them out."""
        return [index for index, one in self.seen.items() if min(one.width, one.height) < TINY]

    @cached_property
    def blank(self) -> list[int]:
        """Images of nearly one colour."""
        return [index for index, one in self.seen.items() if one.contrast < BLANK]

    @cached_property
    def groups(self) -> list[list[int]]:
        """Images that show the same, two or more a group: the one that stands for them, then the others."""
        found: dict[int, list[int]] = {}
        for one in self.duplicates:
            found.setdefault(one.of, [one.of]).append(one.image)
        return [found[of] for of in sorted(found)]

    @cached_property
    def distinct(self) -> list[int]:
        """Images that can be read and duplicate none."""
        doubles = {one.image for one in self.duplicates}
        return [index for index in self.seen if index not in doubles]


def inspect_files(paths: Sequence[Path], root: Path) -> Inspection:
    """Read and decode each file once, in threads, and compare the images; memory is about 2 kB an image.

    Images are named relative to ``root``, others by their whole path. Blank images are duplicates only byte for byte:
    the rest of what they show is noise. Never raises for what is in a file.
    """
    seen: dict[int, Look] = {}
    broken: dict[int, str] = {}
    with stage("Looking at files", total=len(paths)) as advance:
        for index, result in enumerate(_look_at(paths, advance)):
            if isinstance(result, str):
                broken[index] = result
            else:
                seen[index] = result
    names = [_name(path, root) for path in paths]
    return Inspection(paths, names, seen, broken, _duplicates(seen, names))


def inspect_once(paths: Sequence[Path], root: Path) -> Inspection:
    """``inspect_files``, but the files of the last call aren't looked at again unless one changed since."""
    stamps = [(path, status.st_size, status.st_mtime_ns) for path in paths if (status := _status(path)) is not None]
    return _remembered(tuple(paths), root, tuple(stamps))


@lru_cache(maxsize=1)
def _remembered(paths: Sequence[Path], root: Path, stamps: object) -> Inspection:
    return inspect_files(paths, root)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # a link to nothing
        return None


def _look_at(paths: Sequence[Path], advance: Advance) -> list[Look | str]:
    def some(start: int) -> list[Look | str]:
        found = []
        for path in paths[start : start + CHUNK]:
            found.append(look(path))
            advance()
        return found

    pool = ThreadPoolExecutor(min(32, os.cpu_count() or 1), "imcswav-look")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is either harmless or raised and listed
        try:
            return [one for chunk in pool.map(some, range(0, len(paths), CHUNK)) for one in chunk]
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C too


def _name(path: Path, root: Path) -> str:
    return printable(path.relative_to(root) if path.is_relative_to(root) else path)


def _duplicates(seen: dict[int, Look], names: Sequence[str]) -> list[Duplicate]:
    order = sorted(seen, key=lambda index: (-seen[index].width * seen[index].height, names[index]))
    same: dict[bytes, int] = {}
    copies = {index: first for index in order if (first := same.setdefault(seen[index].content, index)) != index}
    rows = [index for index in same.values() if seen[index].contrast >= BLANK]
    small_NX = np.stack([seen[index].small.reshape(-1) for index in rows]) if rows else np.empty((0, 0))
    with stage("Comparing images", total=len(rows)) as advance:
        found = leaders([seen[index].phash for index in rows], small_NX, DISTANCE, LIKENESS, advance)
    of = {rows[row]: rows[first] for row, first in found.items()}
    of |= {index: of.get(first, first) for index, first in copies.items()}
    return [Duplicate(index, of[index], seen[index].content == seen[of[index]].content) for index in sorted(of)]
