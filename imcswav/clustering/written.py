"""Files of a run that are made anew after every edit, and that people open and change: theirs is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imcswav.clustering.store import FOLDER
from imcswav.files import write_atomically

RECORD = "written.json"


def write_ours(path: Path, write: Callable[[Path], Any]) -> Path | None:
    """Write ``path`` atomically; what lies there and isn't as we wrote it is kept as ``labels.yours-1.csv``.

    The checksums of what we wrote stand in ``clustering/written.json`` beside the file. Returns where somebody's file
    is kept now, None where there was none; raises OSError.
    """
    record = path.parent / FOLDER / RECORD
    kept = None
    if path.exists() and _checksum(path) != _known(record).get(path.name):
        kept = _free(path)
        os.rename(path, kept)
    write_atomically(path, write)
    record.parent.mkdir(exist_ok=True)
    text = json.dumps({**_known(record), path.name: _checksum(path)}, indent=2) + "\n"
    write_atomically(record, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return kept


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _known(record: Path) -> dict[str, str]:
    """Checksum by file name; empty where the record is missing or broken, so that every file counts as somebody's."""
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _free(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.stem}.yours-{number}{path.suffix}")).exists():
        number += 1
    return kept
