"""Corrections of a finished run's clustering: merge, split, rename, drop outliers, set by hand, refit, undo.

    from imcswav.clustering.edits import Merge, edit
    edit("runs/…", Merge(clusters=(3, 7)))

Each is recorded in ``RUN/model/edits.json``, so that the clustering, its tables and page, and what the model says of
new images follow. The run's own files of before stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from imcswav.clustering import Clustering
from imcswav.clustering.edits.assign import Assign
from imcswav.clustering.edits.kept import FILE, Kept
from imcswav.clustering.edits.merge import Merge
from imcswav.clustering.edits.operation import Edit
from imcswav.clustering.edits.outliers import DropOutliers
from imcswav.clustering.edits.page import read_page
from imcswav.clustering.edits.refit import Refit
from imcswav.clustering.edits.rename import Rename
from imcswav.clustering.edits.split import Split
from imcswav.clustering.follow import Followed, follow
from imcswav.clustering.store import load_unedited
from imcswav.errors import RunError
from imcswav.lock import locked

__all__ = [
    "Assign", "DropOutliers", "Edit", "Edited", "Merge", "Refit", "Rename", "Split",
    "apply_file", "edit", "history", "state_of", "undo",
]  # fmt: skip


@dataclass(frozen=True)
class Edited:
    """What was done to a run, and what was written."""

    edits: Sequence[Edit]
    """As recorded; after ``undo`` those that were taken back, the last first."""
    files: Followed


def edit(run: str | Path, *edits: Edit) -> Edited:
    """Make these edits, one after another, record them and write tables and page anew.

    All or nothing: raises RunError, before anything is written, where one of them can't be made or the run has no
    clustering.
    """
    path = Path(run)
    clustering, opened = _opened(path)
    kept = opened
    now = kept.applied(clustering)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    recorded = []
    for asked in edits:
        ready = asked.prepared(now, kept.free)
        before, now = now, ready.applied(now)
        recorded.append(ready.model_copy(update={"when": when, "said": ready.told(before, now)}))
        kept = replace(kept, edits=(*kept.edits, recorded[-1]))
    return _recorded(path, opened, kept, recorded)


def undo(run: str | Path, count: int = 1) -> Edited:
    """Take the last edits back, write tables and page anew; they stay in the file's list of undone ones.

    Raises RunError where there are fewer than ``count`` edits.
    """
    path = Path(run)
    _, opened = _opened(path)
    kept = opened
    if not 1 <= count <= len(kept.edits):
        there = {0: "no edits", 1: "1 edit"}.get(len(kept.edits), f"{len(kept.edits)} edits")
        raise RunError(f"{path} has {there}, so {count} can't be taken back; see: imcswav edit {quote(str(path))} list")
    back = kept.edits[-count:]
    kept = replace(kept, edits=kept.edits[:-count], undone=(*kept.undone, *back))
    return _recorded(path, opened, kept, back[::-1])


def apply_file(run: str | Path, file: str | Path) -> Edited:
    """Make all edits of the page's file, or none; raises RunError as ``edit`` and ``read_page`` do."""
    return edit(run, *read_page(Path(file), _opened(Path(run))[1].state))


def state_of(run: str | Path) -> int:
    """The number of the run's state, which a file of edits names as its ``base``; every edit and undoing changes it."""
    return _opened(Path(run))[1].state


def history(run: str | Path) -> Sequence[Edit]:
    """The edits that hold, first to last; raises RunError where the run has no clustering."""
    _, kept = _opened(Path(run))
    return kept.edits


def _opened(run: Path) -> tuple[Clustering, Kept]:
    clustering = load_unedited(run)
    kept = Kept.read(run / "model") or Kept(clustering.ids)
    if kept.ids != clustering.ids:
        raise RunError(f"{run / 'model' / FILE} has edits of another clustering; move it away, and edit anew.")
    return clustering, kept


def _recorded(run: Path, opened: Kept, kept: Kept, edits: Sequence[Edit]) -> Edited:
    with locked(run / "model"):
        if (Kept.read(run / "model") or Kept(opened.ids)).state != opened.state:
            raise RunError(f"Somebody else edited {run} at the same moment; nothing changed: look, and do it again.")
        try:
            kept.write(run / "model")
        except OSError as error:
            raise RunError(
                f"{run / 'model' / FILE} can't be written: {error.strerror or error}; nothing changed."
            ) from error
        return Edited(edits, follow(run))
