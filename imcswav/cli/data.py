"""The command about data sets: data."""

from __future__ import annotations

from enum import StrEnum
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
