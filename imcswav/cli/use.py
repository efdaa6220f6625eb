"""Commands that use finished runs: evaluate, predict, features, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import DeviceOption, RunArgument

ImagesArgument = Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")]


def evaluate(run: RunArgument, device: DeviceOption = None) -> None:
    """Score a run's saved model on its data again."""
    from imcswav import api, console

    console.scores(api.evaluate(run, device=device or "auto"))


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

    console.predicted(write_features(run, images, out, device=device or "auto"), "features written")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders, or folders of --seeds.")],
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this PNG; refused if it exists.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file; refused if it exists.")] = None,
) -> None:
    """Put finished runs side by side: settings that differ, figures, the ARI between their clusters."""
    from imcswav.results import tables
    from imcswav.results.comparison import compare_runs

    tables.comparison(compare_runs(runs, plot, json))
    tables.written(plot)
    tables.written(json)
