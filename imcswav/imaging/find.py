"""Image files under a folder."""

from __future__ import annotations

import os
from pathlib import Path

from imcswav.errors import DataError
from imcswav.imaging.opening import formats


def find_images(root: str | os.PathLike[str], channels: int = 3) -> list[Path]:
    """Image files under ``root``, as ``find_files`` gives them."""
    return find_files(root, channels)[0]


def find_files(root: str | os.PathLike[str], channels: int = 3) -> tuple[list[Path], list[Path]]:
    """Image files under ``root`` by extension, and all others; sorted by path, without hidden files and folders.

    Links are followed; a folder is read once, however many links lead to it. Raises DataError when ``root``
    or a folder below it can't be listed.
    """
    wanted = formats().keys() if channels in (1, 3) else {".npy"}
    found: dict[bool, list[Path]] = {True: [], False: []}
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                found[os.path.splitext(name)[1].lower() in wanted].append(Path(folder, name))
    return sorted(found[True], key=Path.as_posix), sorted(found[False], key=Path.as_posix)


def printable(path: str | os.PathLike[str]) -> str:
    """The path as text any file can hold: bytes of its name that are no UTF-8 are written as ``\\xff``."""
    return os.fsencode(Path(path).as_posix()).decode("utf-8", "backslashreplace")


def _refuse(error: OSError) -> None:
    raise DataError(
        f"The folder {error.filename} can't be listed ({error.strerror}); make it readable or leave it out."
    )
