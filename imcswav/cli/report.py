"""The page of a finished run's clustering."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import DeviceOption, RunArgument


def report(
    run: RunArgument,
    device: DeviceOption = None,
    out: Annotated[Path | None, typer.Option(help="File to write; refused if it exists. Else RUN/report.html.")] = None,
    budget: Annotated[
        float, typer.Option(min=6, help="Megabytes that the file may have; pictures give way to it.")
    ] = 25.0,
    root: Annotated[
        Path | None, typer.Option(help="The folder of the images, where it was moved; of a run without clustering/.")
    ] = None,
) -> None:
    """Write report.html: clusters to look at and to correct in any browser, one file that needs no network.

    Of a run that kept no clustering/ the images are assigned once more, and its tables are written too.
    A report.html that was changed since is kept as report.yours-1.html.
    """
    from imcswav.clustering import Clustering
    from imcswav.clustering.collect import collect
    from imcswav.clustering.store import FOLDER
    from imcswav.errors import RunError
    from imcswav.files import refuse_existing
    from imcswav.progress import shown
    from imcswav.report import NAME, write_report
    from imcswav.results import tables

    refuse_existing(out)
    path, made = out or run / NAME, (run / FOLDER).is_dir()
    if made and root is not None:
        raise RunError(
            f"{run} keeps the pictures of its clustering, and no folder is read for it; leave out --root, or move "
            f"{run / FOLDER} away to make it anew."
        )
    aside: list[Path | None] = []
    if not made:
        with shown():
            aside += collect(run, device or "auto", root)
    try:
        aside.append(write_report(Clustering.of(run), run, out, budget=budget))
    except OSError as error:
        raise RunError(f"{path} can't be written: {error.strerror or error}; give another --out.") from error
    for kept in filter(None, aside):
        print(f"A file that you changed is now {kept}")
    tables.written(path)
