"""Commands for those who add parts: new, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import kinds


def new(
    kind: Annotated[
        str, typer.Argument(help="What to write: a kind, e.g. loss, solver, head, data.", autocompletion=kinds)
    ],
    name: Annotated[str, typer.Argument(help="Its name in recipes, e.g. my_loss.")],
    out: Annotated[Path | None, typer.Option(help="Folder, new or empty (default imcswav-NAME).")] = None,
) -> None:
    """Write a small package with a component of your own, its test and a recipe that uses it."""
    from imcswav import console
    from imcswav.scaffold import write_package

    console.out.print(write_package(kind, name, out).told(), soft_wrap=True)


def doctor() -> None:
    """Report versions, devices, plugins and what became of each, the cache and free space."""
    from imcswav.doctor import doctor as report

    report()
