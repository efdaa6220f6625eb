"""What is written anew when the clustering of a run changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imcswav.clustering.store import load
from imcswav.clustering.tables import TABLES, write_tables
from imcswav.errors import RunError
from imcswav.report import NAME, write_report


@dataclass(frozen=True)
class Followed:
    """Files that were written, and where changed ones of the user's went."""

    written: Sequence[Path]
    aside: Sequence[Path]


def follow(run: Path) -> Followed:
    """Write tables and report of the clustering as it is now; raises RunError where that can't be."""
    try:
        clustering = load(run)
        aside = [*write_tables(clustering, run), write_report(clustering, run)]
    except OSError as error:
        raise RunError(
            f"The edits of {run} are recorded, but its tables can't be written: {error.strerror or error}; the next "
            f"edit, or undo, writes them."
        ) from error
    return Followed([run / name for name in (*TABLES, NAME)], [path for path in aside if path is not None])
