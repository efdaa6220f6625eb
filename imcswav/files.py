"""Writing files so that a crash leaves either the old content or the new, never half."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from imcswav.errors import RunError


def write_atomically(path: Path, write: Callable[[Path], Any], *, new: bool = False) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, and rename it into place.

    ``new``: for a file that a user named; raises RunError where there is one by now.
    """
    temporary = _beside(path)
    try:
        write(temporary)
        _flush(temporary)
        (_add if new else os.replace)(temporary, path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _add(temporary: Path, path: Path) -> None:
    """Put the file where none is."""
    try:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            path.open("x").close()
            try:
                os.replace(temporary, path)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise RunError(
            f"{path} was made by somebody else meanwhile and is not overwritten; give another name."
        ) from None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_json(path: Path, value: Any, *, new: bool = False) -> None:
    """Write a JSON file atomically, indented for readers; ``new`` as of ``write_atomically``."""
    text = json.dumps(value, indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), new=new)


def refuse_existing(*paths: Path | None, given_by: str = "name") -> None:
    """Raise RunError when a file that is to be written exists, or can't be made: before the work that it is for.

    Also where two of them are the same file; those that are None don't count.
    """
    seen: set[Path] = set()
    for path in filter(None, paths):
        if path.absolute() in seen:
            raise RunError(f"{path} is to be written twice, with different contents; give another {given_by}.")
        seen.add(path.absolute())
        _refuse_existing(path, given_by)


def _refuse_existing(path: Path, given_by: str) -> None:
    try:
        if os.path.lexists(path):  # a link to what is gone is somebody's too
            raise RunError(f"{path} exists and is not overwritten; give another {given_by}.")
        if not path.parent.is_dir():
            raise RunError(f"The folder {path.parent} does not exist; make it first.")
        temporary = _beside(path)
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise RunError(f"{path} can't be written: {error.strerror or error}; give another {given_by}.") from error


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there: what tells about its disk."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def make_folder(path: Path) -> None:
    """Make a folder in one that is there, so that a power cut can't lose it; raises OSError."""
    if not path.is_dir():
        path.mkdir(exist_ok=True)
        _flush(path.parent)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], *, new: bool = False) -> None:
    """Write a CSV file atomically; ``new`` as of ``write_atomically``.

    Text that a spreadsheet would run as a formula (a stranger's file may be called ``=HYPERLINK(…).png``) is put
    behind an apostrophe; ``read_csv`` takes it away again.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([_guarded(cell) for cell in row] for row in rows)

    write_atomically(path, write, new=new)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a file by ``write_csv``, by the names of its header; raises OSError, and ValueError for no UTF-8."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: unguarded(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


# with apostrophes before it, so that a name that has one itself comes back as it was
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def _guarded(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) and not _is_number(cell) else cell


def unguarded(cell: Any) -> Any:
    """A cell as it was before ``write_csv`` put an apostrophe before what spreadsheets take for a formula."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows can't open folders
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows flushes writable files only
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
