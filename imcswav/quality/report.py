"""The findings for people: a table on the screen, and a file with a row a finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from imcswav.errors import DataError
from imcswav.files import read_csv, write_csv
from imcswav.quality.inspection import Inspection

HEADER = ("image", "finding", "detail", "near_duplicate_of")
MEANING = {
    "broken": "can't be read",
    "blank": "nearly one colour",
    "tiny": "shorter side under 16 px",
    "exact_duplicate": "the same file as another",
    "near_duplicate": "the same picture, saved anew",
}
"""By finding, in the order of the table."""
EXAMPLES = 3
"""Images that are named in the table for each finding."""

Row = tuple[str, str, str, str]


def findings(found: Inspection) -> list[Row]:
    """A row (``HEADER``) a finding, in the order of the files; an image may have several."""
    return [row for _, row in sorted(_findings(found), key=lambda item: item[0])]


def _findings(found: Inspection) -> Iterator[tuple[int, Row]]:
    for index, reason in found.broken.items():
        yield index, (found.names[index], "broken", reason, "")
    for index in found.blank:
        yield index, (found.names[index], "blank", f"contrast {found.seen[index].contrast:.1f} of 255", "")
    for index in found.tiny:
        yield index, (found.names[index], "tiny", _size(found, index), "")
    for one in found.duplicates:
        detail = "same content" if one.exact else f"{_size(found, one.image)} and {_size(found, one.of)}"
        kind = "exact_duplicate" if one.exact else "near_duplicate"
        yield one.image, (found.names[one.image], kind, detail, found.names[one.of])


def _size(found: Inspection, index: int) -> str:
    return f"{found.seen[index].width} × {found.seen[index].height} px"


def write_findings(path: Path, found: Inspection, *, new: bool = False) -> None:
    """Write ``findings`` as a CSV file, also when there are none; an existing one is replaced.

    Raises DataError when the file can't be written, and RunError where there is one though it is to be ``new``.
    """
    try:
        write_csv(path, HEADER, findings(found), new=new)
    except OSError as error:
        raise DataError(f"{path} can't be written: {error.strerror or error}; give another name.") from error


def read_duplicates(run: Path) -> dict[str, str]:
    """Name of an image → name of the one that it nearly equals, of a run's ``quality.csv``; empty where it has none."""
    try:
        rows = read_csv(run / "quality.csv")
        return {row["image"]: row["near_duplicate_of"] for row in rows if row["near_duplicate_of"]}
    except (OSError, ValueError, KeyError):  # a table for people, who may have changed it
        return {}


def shown(found: Inspection) -> list[Table | str]:
    """What the command prints: a row a kind of finding, its first few images, and what is left."""
    rows = findings(found)
    by_kind = {kind: [row for row in rows if row[1] == kind] for kind in MEANING}
    table = Table("finding", "images", "what")
    examples: list[Table | str] = []
    for kind, of_kind in by_kind.items():
        if of_kind:
            table.add_row(kind, f"{len(of_kind):,}", MEANING[kind])
            more = ["  …"] if len(of_kind) > EXAMPLES else []
            examples.append("\n".join([f"{kind}:", *map(_example, of_kind[:EXAMPLES]), *more]))
    counted = f"{len(found.paths):,} files, {len(found.seen):,} images, {len(found.distinct):,} of them distinct."
    return [table, *examples, counted] if rows else [counted, "Nothing was found wrong."]


def _example(row: Row) -> str:
    image, _, detail, of = row
    return f"  {image} = {of}" if of else f"  {image} ({detail})"
