"""Streamed images: files that are decoded by threads when a batch asks for them, and then kept in the decoded cache.

Threads, because Pillow decodes without Python's lock and a process would have to import the caller's script again; on
two cores they decode two thirds as many photographs as processes, and half as many tiny files, while the cache fills.

Whether a file can be read is only known when it is met. An unreadable one is replaced in training by another file,
drawn by its number alone: the same one in every run, wherever it resumes. Evaluation leaves it out.
"""

from __future__ import annotations

import bisect
import copy
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from imcswav.errors import DataError
from imcswav.imaging.decoded_cache import FORMAT, Array, DecodedCache, digest
from imcswav.imaging.find import printable
from imcswav.imaging.pixels import Resize
from imcswav.imaging.prefetch import THREAD_NAME, Fetched
from imcswav.imaging.read import empty_images, try_decode
from imcswav.seeding import mix

ATTEMPTS = 100
"""Files tried in an unreadable one's place."""
MEETING = 256


class Streamed(Fetched):
    """The images of ``paths`` as uint8 (N, C, size, size); ``skipped`` gets (path, reason) of each unreadable one."""

    depth = 4
    workers = min(8, os.cpu_count() or 1)
    chunk = 16

    def __init__(
        self,
        paths: Sequence[Path],
        folder: Path,
        *,
        part: Sequence[str] = (),
        limit: int | None,
        size: int,
        channels: int,
        resize: Resize,
        skipped: list[tuple[str, str]],
    ) -> None:
        super().__init__((len(paths), channels, size, size), torch.device("cpu"))
        self.paths, self.resize, self.skipped = paths, resize, skipped
        self._files, changed = _facts(paths, folder)
        place = place_of(folder, [os.path.abspath(folder), limit, channels, size, resize, *part])
        key = digest([FORMAT, channels, size, resize, self._files, changed])
        self.cache = DecodedCache.open(place, key, len(paths), self.shape[1:])
        self.rows = np.arange(len(paths))  # the file of each image: all, until unreadable ones are left out
        self._met = np.zeros(len(paths), bool)
        self._unreadable: set[int] = set()
        self._lock = threading.Lock()

    def checksum(self) -> str:
        """A digest of the files' names, sizes and times: reading them all would take too long."""
        return self._files

    def read_into(self, rows: Tensor, out: Tensor) -> None:
        """From the cache, else from the file; raises DataError when nothing readable is found in its place."""
        for row, pixels in zip(self.rows[rows.numpy()].tolist(), out.numpy(), strict=True):
            self._read(row, pixels)

    def decoded(self) -> tuple[Tensor, list[int]]:
        """All images that can be read, in memory, and their numbers; raises DataError when there isn't the memory."""
        count = len(self.paths)
        images_NCHW = empty_images(count, self.shape[1], self.shape[2])
        pixels = images_NCHW.numpy()

        def read(start: int) -> list[int]:
            rows = range(start, min(start + self.chunk, count))
            return [row for row in rows if self._read_file(row, pixels[row])]

        with warnings.catch_warnings(), ThreadPoolExecutor(min(32, os.cpu_count() or 1), THREAD_NAME) as pool:
            warnings.filterwarnings("ignore", module="PIL")  # harmless, or the file is listed
            kept = [row for rows in pool.map(read, range(0, count, self.chunk)) for row in rows]
        return images_NCHW if len(kept) == count else images_NCHW[kept], kept

    def readable(self) -> Array:
        """Numbers of the images that can be read; meets those that were not met yet, and so fills the cache."""
        met = self._met if self.cache is None else self._met | self.cache.known()
        unmet = torch.from_numpy(np.flatnonzero(~met[self.rows]))
        for _ in self.to(torch.device("cpu")).batches(unmet.split(MEETING) if len(unmet) else []):
            pass
        return np.array([i for i, row in enumerate(self.rows.tolist()) if row not in self._unreadable], np.int64)

    def select(self, kept: Array) -> Self:
        """Only these images."""
        part = copy.copy(self)
        part.rows = self.rows[kept]
        part.shape = torch.Size((len(kept), *self.shape[1:]))
        return part

    def _read(self, row: int, pixels: Array) -> None:
        tried = row
        for attempt in range(ATTEMPTS):
            if self._read_file(tried, pixels):
                return
            tried = mix(row, attempt) % len(self.paths)
        path, reason = self.skipped[0]
        raise DataError(
            f"{len(self.skipped)} images can't be read ({path}: {reason}), and none was found in the place of "
            f"{printable(self.paths[row])}; mend or remove them."
        )

    def _read_file(self, row: int, pixels: Array) -> bool:
        if row in self._unreadable:
            return False
        if self.cache is None or not self.cache.read(row, pixels):
            image = try_decode(self.paths[row], size=self.shape[-1], channels=self.shape[1], resize=self.resize)
            if isinstance(image, str):
                self._skip(row, image)
                return False
            pixels[...] = image.numpy()
            if self.cache is not None:
                self.cache.write(row, pixels)
        self._met[row] = True
        return True

    def _skip(self, row: int, reason: str) -> None:
        with self._lock:
            if row not in self._unreadable:
                self._unreadable.add(row)
                bisect.insort(self.skipped, (printable(self.paths[row]), reason))  # threads meet them in any order
            self._met[row] = True


def _facts(paths: Sequence[Path], folder: Path) -> tuple[str, str]:
    """Digests of the files' names, sizes and times of modification, and of the times their entries changed.

    Only the second tells a file from one of its size that was put in its place with its time (``cp -p``). But it also
    changes with ``chmod``, which must not keep a run from being resumed.
    """
    start = len(os.fspath(folder / "x")) - 1  # of "." nothing is left in its files' paths
    changed: list[int] = []

    def facts() -> Iterator[object]:
        for path in map(os.fspath, paths):
            yield path[start:]
            try:
                status = os.stat(path)
                changed.append(status.st_ctime_ns)
                yield from (status.st_size, status.st_mtime_ns)
            except OSError:  # it is gone or its link is broken: listed when it is met
                changed.append(0)
                yield from (-1, 0)

    return digest(facts()), digest(changed)


def place_of(folder: Path, settings: Sequence[object]) -> str:
    """Folder of the cache: readable, and one for each folder, part of it and way of decoding it."""
    name = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in folder.name)[:40]
    return f"{name}-{digest(settings)[:12]}"
