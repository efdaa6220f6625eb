"""The reference pages as files: written, and compared with what is there."""

from __future__ import annotations

from pathlib import Path

from imcswav.errors import ImcswavError
from imcswav.files import write_atomically
from imcswav.recipe.json_schema import COMMENT
from imcswav.reference.markdown import NOTE


def write_pages(folder: Path, pages: dict[str, str]) -> list[str]:
    """Write the pages that changed and remove pages of ours that there are no more; returns their names.

    Files that `imcswav docs` did not write are left alone; raises ImcswavError, before anything is written, when
    one of them has the name of a page.
    """
    for name in pages:
        if (folder / name).exists() and not ours(folder / name):
            raise ImcswavError(
                f"{folder / name} was not written by `imcswav docs` and is not overwritten; move it, or give another "
                "--out."
            )
    changed = stale(folder, pages)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in changed:
            if name in pages:
                write_text(folder / name, pages[name])
            else:
                (folder / name).unlink()
    except OSError as error:
        raise ImcswavError(f"{folder} can't be written: {error.strerror or error}; give another --out.") from error
    return changed


def stale(folder: Path, pages: dict[str, str]) -> list[str]:
    """Names of pages that are missing, differ, or are of ours but no page any more."""
    wrong = [name for name, text in pages.items() if _text(folder / name) != text]
    here = sorted(folder.iterdir()) if folder.is_dir() else []
    return wrong + [path.name for path in here if path.name not in pages and ours(path)]


def ours(path: Path) -> bool:
    """Whether this program wrote the file."""
    text = _text(path) or ""
    return text.startswith(NOTE) or (path.suffix == ".json" and f'"$comment": "{COMMENT}"' in text[:300])


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(text.encode()))


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode().replace("\r\n", "\n") if path.is_file() else None
    except (OSError, UnicodeDecodeError):
        return None
