"""Image files under a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from imcswav.errors import DataError
from imcswav.imaging.opening import formats

KINDS = 4
"""Extensions of left-out files that are told apart."""


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


def folder_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Image files under a folder and all others; raises DataError where there is no such folder, or no image in it."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}; give the folder that holds the images.")
    paths, others = find_files(folder)
    if not paths:
        only = f", only {counted(others)}; convert what is wanted, or" if others else ";"
        raise DataError(f"There are no images (.jpg, .png, .webp …) in {folder} or below it{only} give another folder.")
    return paths, others


def left_out(folder: Path, others: Sequence[Path]) -> str:
    """A sentence on files of a folder that aren't read as images; empty where there are none."""
    if not others:
        return ""
    return f"Left out in {folder}: {counted(others)}; the first is {printable(others[0].relative_to(folder))}."


def counted(others: Sequence[Path]) -> str:
    """``2 files that aren't read as images (.heic: 1, no extension: 1)``, the commonest extensions first."""
    kinds = Counter(path.suffix.lower() or "no extension" for path in others).most_common()
    told = [f"{printable(kind)}: {count:,}" for kind, count in kinds[:KINDS]]
    if rest := sum(count for _, count in kinds[KINDS:]):
        told.append(f"others: {rest:,}")
    verb = "file that isn't read as an image" if len(others) == 1 else "files that aren't read as images"
    return f"{len(others):,} {verb} ({', '.join(told)})"


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
