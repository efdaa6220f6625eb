"""Lists of WordNet ids (n02056570), as ImageNet's class folders are called, and their names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from imcswav.errors import DataError


def read_lines(path: Path, problem: Callable[[str], DataError], least: int = 1) -> list[list[str]]:
    """The words of each line that isn't empty or a comment (#); raises ``problem`` when the file isn't good."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise problem(f"{path} can't be read: {reason}") from error
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, words) for number, words in lines if words and not words[0].startswith("#")]
    for number, words in lines:
        if len(words) < least:
            raise problem(f"{path}, line {number}, has {len(words)} words where {least} are needed")
    if not lines:
        raise problem(f"{path} is empty")
    return [words for _, words in lines]


def names_of(ids: Sequence[str], *files: Path) -> tuple[str, ...]:
    """The first name of each id in the first of ``files`` (an id and its names a line) that is there, else the id."""
    found: dict[str, str] = {}
    for path in filter(os.path.isfile, files):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, words = line.strip().partition("\t" if "\t" in line else " ")
            found[name] = words.split(",")[0].strip()
        break
    return tuple(found.get(name) or name for name in ids)
