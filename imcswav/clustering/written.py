"""Files of a run that are written anew whenever the clustering changes; what somebody changed in them is kept.

``RUN/written.json`` remembers the checksums of the last two versions of each file that imcswav wrote: two,
so that a crash before or after a file takes its place leaves one that is known.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imcswav.files import write_atomically

MEMORY = "written.json"
"""Not in ``clustering/``, which may be moved away to be made anew."""
FORMER = Path("clustering", MEMORY)
"""Where runs of before have it."""


def write_ours(run: Path, name: str, write: Callable[[Path], Any]) -> Path | None:
    """Let ``write`` fill ``RUN/name``, atomically; raises OSError.

    A file that is there and isn't as imcswav left it is somebody's: it becomes ``labels.yours-1.csv`` first, which is
    returned; None where there was nothing to keep.
    """
    path, aside = run / name, None

    def ours(temporary: Path) -> None:
        nonlocal aside
        write(temporary)
        known = _known(run)
        versions = known.get(name, [])
        if path.exists() and _checksum(path) not in versions:
            aside = _free(path)
            os.replace(path, aside)
        text = json.dumps(known | {name: [_checksum(temporary), *versions][:2]}, indent=2) + "\n"
        write_atomically(run / MEMORY, lambda place: place.write_text(text, encoding="utf-8"))

    write_atomically(path, ours)
    return aside


def _known(run: Path) -> dict[str, list[str]]:
    place = run / MEMORY
    try:
        known = json.loads((place if place.exists() else run / FORMER).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # then every file is taken for somebody's, and kept
        return {}
    return known if isinstance(known, dict) else {}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _free(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.stem}.yours-{number}{path.suffix}")).exists():
        number += 1
    return aside
