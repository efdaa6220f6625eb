"""Commands for a folder of images: cluster."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import CopyOption, DeviceOption, LinkOption, SetOption, one_target
from imcswav.errors import ImcswavError


class Quality(StrEnum):
    """How much work to do."""

    FAST = "fast"
    BEST = "best"


def cluster(
    folder: Annotated[Path, typer.Argument(help="A folder of images, of any depth; nothing in it is changed.")],
    clusters: Annotated[int | None, typer.Option("-k", "--clusters", min=2, help="How many clusters.")] = None,
    choose_k: Annotated[bool, typer.Option("--choose-k", help="Choose how many; so it is without -k.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the results, new or empty (default runs/…).")] = None,
    quality: Annotated[
        Quality, typer.Option(help="fast: features as they are; best: the network is trained on, for a GPU.")
    ] = Quality.FAST,
    backbone: Annotated[
        str | None, typer.Option(metavar="NAME_OR_RUN", help="A timm model, or a run folder (default DINOv2, small).")
    ] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Train a network; no weights needed.")] = False,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Leave out images that show the same as another one.")
    ] = False,
    copy_to: CopyOption = None,
    link_to: LinkOption = None,
    score: Annotated[bool, typer.Option("--score", help="Folders are classes: score the clusters by them.")] = False,
    changes: SetOption = [],  # noqa: B006
    device: DeviceOption = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Sort a folder of images into clusters: labels.csv, clusters.csv, report.html and a model for new images.

    No recipe, no labels and no training are needed. After Ctrl-C the same command goes on: features are kept, and a
    training where --out was given. Later, imcswav sort puts the files into folders by clusters that were corrected.
    """
    if choose_k and clusters is not None:
        raise ImcswavError("--choose-k and -k can't go together: give one of them.")
    from imcswav import console
    from imcswav.clustering import Clustering
    from imcswav.clustering.folder import cluster as run
    from imcswav.clustering.folder import refuse_inside
    from imcswav.clustering.shown import shown as parts
    from imcswav.clustering.sorted_files import sort_files
    from imcswav.progress import shown
    from imcswav.results import tables
    from imcswav.runs import figures

    target, how = one_target(copy_to, link_to)
    if target is not None:
        refuse_inside(folder, target)
        place = Path("runs") if out is None else out
        if place.resolve().is_relative_to(target.resolve()):
            raise ImcswavError(
                f"The results' {place} lies in --{how}-to {target}, which has to be empty; give another."
            )
    with shown():
        result = run(
            folder, clusters, out=out, quality=quality.value, backbone=backbone, from_scratch=from_scratch,
            drop_duplicates=drop_duplicates, score=score, device=device or "auto", seed=seed, settings=changes,
            warn=console.warn, tell=tables.tell,
        )  # fmt: skip
        found = Clustering.of(result.path)
        if target is not None:
            sort_files(found, target, how)
    for part in parts(found, result.path):
        console.out.print(part, soft_wrap=isinstance(part, str))
    if score:
        console.scores({name: value for name, value in figures(result.summary).items() if value is not None})
    tables.written(target)
