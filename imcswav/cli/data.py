"""Commands about images before a training: data, inspect."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import SetOption


class Action(StrEnum):
    """What to do with a data set."""

    STATS = "stats"


def data(
    action: Annotated[Action, typer.Argument(help="stats: images per split, classes, mean and std, as TOML too.")],
    source: Annotated[str, typer.Argument(help="A recipe, as for `run`; or the name of a data set, e.g. stl10.")],
    changes: SetOption = [],  # noqa: B006 (typer copies it)
) -> None:
    """Measure a data set: its splits, and the mean and standard deviation of its training images."""
    from imcswav import console
    from imcswav.data_stats import data_stats, shown

    for part in shown(data_stats(source, changes)):
        console.out.print(part)


def inspect(
    folder: Annotated[Path, typer.Argument(help="A folder of images, of any depth.")],
    csv: Annotated[Path | None, typer.Option(help="Write a row a finding to this file; refused if it exists.")] = None,
) -> None:
    """Find broken, blank, tiny and duplicate images in a folder; nothing in it is changed.

    Duplicates are the same files, and pictures saved anew, resized or made brighter; the largest one counts.
    """
    from imcswav import console
    from imcswav.files import refuse_existing
    from imcswav.imaging.find import folder_images, left_out
    from imcswav.progress import shown
    from imcswav.quality import inspect_files, report
    from imcswav.results import tables

    refuse_existing(csv)
    paths, others = folder_images(folder)
    with shown():
        found = inspect_files(paths, folder)
    for part in report.shown(found):
        console.out.print(part)
    if others:
        console.out.print(left_out(folder, others), soft_wrap=True)
    if csv is not None:
        report.write_findings(csv, found, new=True)
        tables.written(csv)
