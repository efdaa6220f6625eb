"""Choosing the number of clusters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import DeviceOption

RANGE = "2-50"


def choose_k(
    source: Annotated[Path, typer.Argument(help="A folder of images, a run folder, or an .npz of `imcswav features`.")],
    wanted: Annotated[str, typer.Option("--range", metavar="LOW-HIGH", help="Numbers of clusters to look at.")] = RANGE,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples and their clusterings.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw the signals into this PNG; refused if it exists.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file; refused if it exists.")] = None,
    backbone: Annotated[
        str | None, typer.Option(metavar="NAME_OR_RUN", help="For images: a timm model, or a run (default DINOv2).")
    ] = None,
    device: DeviceOption = None,
) -> None:
    """Recommend a number of clusters without labels: several signals side by side, and whether they agree."""
    from imcswav.files import refuse_existing
    from imcswav.k_choice import choose_k as choose
    from imcswav.k_choice import shown
    from imcswav.k_choice.sources import features_of
    from imcswav.progress import shown as progress
    from imcswav.results.tables import written

    low, high = _range(wanted)
    refuse_existing(plot, csv)
    with progress():
        choice = choose(features_of(source, device or "auto", backbone), low, high, seed)
    shown.table(choice)
    if plot is not None:
        shown.plot(choice, plot)
    if csv is not None:
        shown.write_table(choice, csv)
    for path in (plot, csv):
        written(path)


def _range(wanted: str) -> tuple[int, int]:
    from imcswav.errors import ImcswavError

    found = re.fullmatch(r"\s*(\d{1,6})\s*-\s*(\d{1,6})\s*", wanted, re.ASCII)
    if found is None:
        raise ImcswavError(f"--range {wanted} is no range of clusters; give two numbers such as {RANGE}.")
    return int(found[1]), int(found[2])
