"""Commands that use finished runs: evaluate, predict, features, compare, signals."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import DeviceOption, RunArgument

ImagesArgument = Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")]


class Probe(StrEnum):
    """What reads classes off features."""

    linear = "linear"
    knn = "knn"


def evaluate(
    run: RunArgument,
    probe: Annotated[
        Probe | None,
        typer.Option(help="How well classes can be read off the features: by logistic regression, or by neighbours."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file; refused if it exists.")] = None,
    changes: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of data or evaluation: data.root=MOVED."),
    ] = [],  # noqa: B006
    device: DeviceOption = None,
) -> None:
    """Score a run's saved model on its data again, as it was trained: edits play no part.

    A probe learns from labels of the training images and is scored on the test images; without a test split,
    cross-validated in five folds (linear) or by leaving each image out (knn).
    """
    from imcswav import api, console
    from imcswav.files import refuse_existing, write_json
    from imcswav.results import tables

    refuse_existing(json)
    if probe is None:
        figures = api.evaluate(run, device or "auto", overrides=changes)
        console.scores(figures)
    else:
        found = api.probe(run, probe.value, device or "auto", overrides=changes)
        console.probed(found)
        figures = dataclasses.asdict(found)
    if json is not None:
        write_json(json, figures, new=True)
        tables.written(json)


def predict(
    run: RunArgument,
    images: ImagesArgument,
    out: Annotated[Path, typer.Option(help="CSV file to write; refused if it exists.")] = Path("labels.csv"),
    device: DeviceOption = None,
) -> None:
    """Assign images to the clusters of a run; unreadable ones are listed apart.

    Images are named by their paths as given here. (A run's own assignments.csv names them relative to its data's root.)
    """
    from imcswav import console
    from imcswav.results.predict import predict_files

    console.predicted(predict_files(run, images, out, device=device or "auto"))


def features(
    run: RunArgument,
    images: ImagesArgument,
    out: Annotated[Path, typer.Option(help="NumPy archive to write; refused if it exists.")] = Path("features.npz"),
    device: DeviceOption = None,
) -> None:
    """Write the features of images by a run's network: arrays features (N, F), paths (as given), probabilities (N, K).

    Unreadable images are listed apart, as by `imcswav predict`.
    """
    from imcswav import console
    from imcswav.results.features import write_features

    console.predicted(write_features(run, images, out, device=device or "auto"), "embedded")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders, or folders of --seeds.")],
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this PNG; refused if it exists.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file; refused if it exists.")] = None,
) -> None:
    """Put finished runs side by side: settings that differ, figures, the ARI between their clusters.

    Figures and clusters are those of training: edits play no part.
    """
    from imcswav.results import tables
    from imcswav.results.comparison import compare_runs

    tables.comparison(compare_runs(runs, plot, json))
    tables.written(plot)
    tables.written(json)


def signals(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN_OR_FOLDER...", help="Runs, or folders that hold some.")],
    csv: Annotated[Path | None, typer.Option(help="Write a row a run to this file; refused if it exists.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw signals over ACC into this PNG; refused if it exists.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write both tables to this file; refused if it exists.")] = None,
) -> None:
    """Signals that need no labels beside ACC, for all finished runs in folders, and Spearman's correlation of the two.

    The correlation looks back, at runs whose labels are known; it chooses none.
    """
    from imcswav.files import refuse_existing
    from imcswav.results import tables
    from imcswav.results.gathered import gather
    from imcswav.results.gathered_files import write_files

    files = (csv, plot, markdown)
    refuse_existing(*files)
    found = gather(folders)
    tables.gathered(found)
    write_files(found, csv, plot, markdown)
    for path in files:
        tables.written(path)
