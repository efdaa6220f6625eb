"""The decoded cache: images that were decoded once, kept on disk for later epochs and later runs.

A data set has two files of fixed, full length, ``KEY.pixels`` (N rows of uint8) and ``KEY.checks`` (N × uint32). They
are sparse: room is taken row by row. A row's check is the CRC-32 of its bytes, 0 where there is none yet, and is
written after them. Nothing is trusted on its word: the bytes of a row must give its check when it is first read,
else it counts as missing. So neither kill -9, nor pages lost in a power cut, nor two processes that write at once
can give wrong pixels.

Imports no torch.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import warnings
import weakref
import zlib
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from imcswav.files import existing

FORMAT = 1
KEPT_FREE = 2**30
"""Bytes of the disk that the cache leaves to others."""

Array = np.ndarray[Any, np.dtype[Any]]


def cache_root() -> Path:
    """``IMCSWAV_CACHE``, by default ``~/.cache/imcswav``."""
    return Path(os.environ.get("IMCSWAV_CACHE") or "~/.cache/imcswav").expanduser()


def digest(parts: Iterable[object]) -> str:
    """A name of 24 hexadecimal digits for a list of values."""
    found = hashlib.sha256()
    for part in parts:
        found.update(f"{part}\0".encode("utf-8", "surrogateescape"))
    return found.hexdigest()[:24]


def no_room(folder: Path, need: int) -> str:
    """Why ``need`` bytes more can't be kept in a folder, made or not; empty where they can. Raises OSError."""
    free = shutil.disk_usage(existing(folder)).free
    return f"{need / 1e9:.1f} GB more are needed and {free / 1e9:.1f} GB are free" if need > free - KEPT_FREE else ""


def taken(place: str) -> int:
    """Bytes on disk of the decoded images that are kept for ``place``, of whatever key."""
    return sum(_taken(path) for path in (cache_root() / place).glob("*.pixels"))


class DecodedCache:
    """Rows of ``shape`` uint8, read and written by number; threads and processes may share it."""

    def __init__(self, pixels: Path, checks: Path, count: int, shape: tuple[int, ...]) -> None:
        self.count, self.row = count, int(np.prod(shape))
        self.folder = pixels.parent
        self.writable = True
        self._lock = threading.Lock()
        self._pixels, self._checks = _open(pixels, count * self.row), _open(checks, count * 4)
        weakref.finalize(self, _close, self._pixels, self._checks)
        self._known = np.frombuffer(self._checks.read(count * 4), np.uint32).copy()
        self._proven = np.zeros(count, bool)

    @classmethod
    def open(cls, place: str, key: str, count: int, shape: tuple[int, ...]) -> DecodedCache | None:
        """The cache ``key`` of ``place``, which stands for a folder and settings: other keys there are outdated and go.

        None, with one warning, where it can't be written or the disk hasn't room for all rows.
        """
        folder = cache_root() / place
        pixels, checks = folder / f"{key}.pixels", folder / f"{key}.checks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_others(folder, key)
            if shortage := no_room(folder, count * int(np.prod(shape)) - _taken(pixels)):
                raise OSError(errno.ENOSPC, shortage)
            return cls(pixels, checks, count, shape)
        except OSError as error:
            _warn(folder, error)
            return None

    def known(self) -> Array:
        """Which rows were decoded, bool (N,), as far as this process has heard."""
        known: Array = self._known != 0
        return known

    def read(self, row: int, out: Array) -> bool:
        """Copy a row into ``out`` (contiguous); False, and anything in ``out``, where the cache doesn't have it."""
        try:
            with self._lock:
                check = self._known[row] or self._ask(row)
                if not check:
                    return False
                self._pixels.seek(row * self.row)
                complete = self._pixels.readinto(out.data.cast("B")) == self.row
        except OSError:  # the disk fails or the share is gone: the file itself may still be read
            return False
        if not self._proven[row]:
            self._proven[row] = complete and _check(out) == check
        return complete and bool(self._proven[row])

    def write(self, row: int, pixels: Array) -> None:
        """Keep a row; after the first failure nothing is written any more."""
        if not self.writable:
            return
        check = _check(pixels)
        try:
            with self._lock:
                _write(self._pixels, row * self.row, pixels)
                _write(self._checks, row * 4, np.array([check], np.uint32))
                self._known[row], self._proven[row] = check, True
        except OSError as error:
            with self._lock:
                first, self.writable = self.writable, False
            if first:
                _warn(self.folder, error)

    def _ask(self, row: int) -> int:
        """The check on disk: another process may have written the row since."""
        self._checks.seek(row * 4)
        self._known[row] = np.frombuffer(self._checks.read(4), np.uint32)[0]
        return int(self._known[row])


def _check(pixels: Array) -> int:
    return zlib.crc32(pixels.data.cast("B")) or 1  # 0 means that there is none


def _open(path: Path, length: int) -> FileIO:
    """Open for reading and writing, made where missing, and at its full length; never shortened."""
    path.touch()
    file = FileIO(path, "r+")
    if os.fstat(file.fileno()).st_size < length:
        file.truncate(length)
    return file


def _close(*files: FileIO) -> None:
    for file in files:
        file.close()


def _write(file: FileIO, offset: int, values: Array) -> None:
    file.seek(offset)
    if file.write(values.data.cast("B")) != values.nbytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _taken(path: Path) -> int:
    """Bytes of the disk that a sparse file takes already."""
    return getattr(path.stat(), "st_blocks", 0) * 512 if path.exists() else 0


def _remove_others(folder: Path, key: str) -> None:
    for path in folder.iterdir():
        if path.stem != key and path.suffix in (".pixels", ".checks"):
            try:
                path.unlink()  # a process that still has it open keeps it until it ends
            except OSError:
                continue


def _warn(folder: Path, error: OSError) -> None:
    warnings.warn(
        f"Decoded images can't be kept in {folder} ({error.strerror or error}), so every epoch decodes them again; "
        f"make room there, or name another folder with IMCSWAV_CACHE.",
        stacklevel=4,
    )
