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
                found[_is_image(name, channels)].append(Path(folder, name))
    return sorted(found[True], key=Path.as_posix), sorted(found[False], key=Path.as_posix)


def count_images(path: str | os.PathLike[str], channels: int = 3) -> int:
    """How many images a folder has, or whether a file is one, by extension; 0 for a folder that can't be listed."""
    if not os.path.isdir(path):
        return int(_is_image(path, channels))
    try:
        return len(find_images(path, channels))
    except DataError:
        return 0


def _is_image(path: str | os.PathLike[str], channels: int) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    return suffix in formats() if channels in (1, 3) else suffix == ".npy"


def printable(path: str | os.PathLike[str]) -> str:
    """The path as text any file can hold: bytes of its name that are no UTF-8 are written as ``\\xff``."""
    return os.fsencode(Path(path).as_posix()).decode("utf-8", "backslashreplace")


def _refuse(error: OSError) -> None:
    raise DataError(
        f"The folder {error.filename} can't be listed ({error.strerror}); make it readable or leave it out."
    )
