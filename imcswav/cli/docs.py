"""Commands that describe imcswav from its code: schema, docs."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from imcswav.errors import ImcswavError


def schema(
    out: Annotated[Path | None, typer.Option(help="File to write instead; only an older schema is replaced.")] = None,
) -> None:
    """Print the JSON schema of a recipe, with every component there is, plugins included, for editors."""
    from imcswav.recipe.json_schema import schema_text
    from imcswav.reference.files import ours, write_text

    if out is None:
        text = schema_text()
        if not (sys.stdout.encoding or "").lower().startswith("utf"):
            text = re.sub(r"[^\x00-\x7f]", lambda sign: json.dumps(sign[0])[1:-1], text)
        sys.stdout.write(text)
        return
    if out.exists() and not ours(out):
        raise ImcswavError(f"{out} exists and is no schema of imcswav, so it is not overwritten; give another --out.")
    try:
        write_text(out, schema_text())
    except OSError as error:
        raise ImcswavError(f"{out} can't be written: {error.strerror or error}; give another --out.") from error


def docs(
    out: Annotated[Path, typer.Option(help="Folder of the pages.")] = Path("docs/reference"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a page is stale.")] = False,
) -> None:
    """Write the reference pages (built-in components, recipe, commands, Python) from settings and docstrings."""
    from imcswav.console import out as console
    from imcswav.reference import pages
    from imcswav.reference.files import stale, write_pages

    made = pages()
    if check:
        if not out.is_dir():
            raise ImcswavError(f"There is no folder {out} to check; name it with --out.")
        if wrong := stale(out, made):
            raise ImcswavError(f"{out} is stale ({', '.join(wrong)}); write it again with: imcswav docs --out {out}")
        console.print(f"{out}: all {len(made)} pages are up to date.")
        return
    changed = write_pages(out, made)
    console.print(f"{out}: {len(made)} pages, of which {len(changed)} changed.")
