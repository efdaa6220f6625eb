"""Features kept on disk: what a network that no longer changes made of an image, by the image's own pixels.

A file for each network, ``features/<digest of network>.sqlite`` beside the decoded cache; a row for each image, by a
hash of its decoded pixels: renamed, moved and repeated files are found again. Rows are written batch by batch, so what
was computed before an interruption stays. Processes may share a file. Imports no torch.
"""

from __future__ import annotations

import hashlib
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np

from imcswav.imaging.decoded_cache import Array, cache_root

WAIT = 30.0
"""Seconds that a process waits while another one writes."""
AT_ONCE = 500
"""Hashes in one question; SQLite takes at least 999."""


class FeatureCache:
    """Rows float32 (F,) by key; ``network`` is a digest of all that made them."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._database = sqlite3.connect(path, timeout=WAIT)
        with self._database:
            self._database.execute("CREATE TABLE IF NOT EXISTS features (image BLOB PRIMARY KEY, row BLOB NOT NULL)")

    @classmethod
    def open(cls, network: str) -> Self | None:
        """The cache of a network; None, with a warning, where there can be none."""
        path = cache_root() / "features" / f"{network}.sqlite"
        try:
            return cls(path)
        except (OSError, sqlite3.Error) as error:
            _warn(path, error)
            return None

    def get(self, keys: Sequence[bytes]) -> list[Array | None]:
        """The rows that are known; None for the others."""
        known: dict[bytes, Array] = {}
        try:
            for start in range(0, len(keys), AT_ONCE):
                part = keys[start : start + AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = self._database.execute(f"SELECT image, row FROM features WHERE image IN ({marks})", part)
                known |= {key: np.frombuffer(row, np.float32) for key, row in rows}
        except sqlite3.Error as error:
            _warn(self.path, error)
        return [known.get(key) for key in keys]

    def put(self, keys: Sequence[bytes], rows_NF: Array) -> None:
        """Keep rows; what can't be kept is computed again next time."""
        rows = [(key, row.tobytes()) for key, row in zip(keys, rows_NF.astype(np.float32), strict=True)]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            _warn(self.path, error)

    def close(self) -> None:
        """Nothing is asked or kept any more."""
        self._database.close()


@contextmanager
def kept(network: str) -> Iterator[Callable[[Array, Callable[[Array], Array]], Array]]:
    """Gives what takes images (B, C, H, W) and a function of some of them to features: the others are known already.

    ``network`` tells all that makes the features.
    """
    cache = FeatureCache.open(hashlib.sha256(network.encode()).hexdigest()[:24])

    def features(images_BCHW: Array, compute: Callable[[Array], Array]) -> Array:
        if cache is None:
            return compute(images_BCHW)
        keys = pixel_keys(images_BCHW)
        rows = cache.get(keys)
        missing = [place for place, row in enumerate(rows) if row is None]
        if missing:
            computed_MF = compute(images_BCHW[missing])
            cache.put([keys[place] for place in missing], computed_MF)
            for place, row in zip(missing, computed_MF, strict=True):
                rows[place] = row
        return np.stack([row for row in rows if row is not None])

    try:
        yield features
    finally:
        if cache is not None:
            cache.close()


def pixel_keys(images_BCHW: Array) -> list[bytes]:
    """A hash of 16 bytes for each decoded image uint8 (C, H, W)."""
    shape = repr(images_BCHW.shape[1:]).encode()
    return [hashlib.blake2b(image.tobytes(), digest_size=16, key=shape).digest() for image in images_BCHW]


def _warn(path: Path, error: Exception) -> None:
    warnings.warn(
        f"Features can't be kept in {path} ({error}), so later runs compute them again; make room there, remove that "
        f"file, or name another folder with IMCSWAV_CACHE.",
        stacklevel=4,
    )
