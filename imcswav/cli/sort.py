"""The command that sorts a run's files into folders: sort."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import CopyOption, LinkOption, RunArgument, one_target


def sort(
    run: RunArgument,
    copy_to: CopyOption = None,
    link_to: LinkOption = None,
    root: Annotated[Path | None, typer.Option(help="The folder of the images, where it was moved.")] = None,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave out files that are gone by now.")] = False,
) -> None:
    """Put a run's images into one folder a cluster, as its clusters are now, edits included.

    The originals stay where they are; images without a cluster go into "outliers".
    """
    from imcswav.clustering import Clustering
    from imcswav.clustering.folder import refuse_inside
    from imcswav.clustering.sorted_files import sort_files
    from imcswav.errors import ImcswavError
    from imcswav.progress import shown
    from imcswav.results import tables

    target, how = one_target(copy_to, link_to)
    if target is None:
        raise ImcswavError("Where to? Give --copy-to FOLDER, or --link-to FOLDER.")
    found = Clustering.of(run)
    if root is not None:
        found = dataclasses.replace(found, root=str(root))
    if found.root:
        refuse_inside(Path(found.root), target)
    with shown():
        lost = sort_files(found, target, how, skip_missing=skip_missing)
    if lost:
        print(f"Left out: {len(lost):,} of {len(found):,} files are gone, such as {lost[0]}.")
    tables.written(target)
