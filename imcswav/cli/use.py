"""Commands that use a finished run: evaluate, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import DeviceOption, RunArgument


def evaluate(run: RunArgument, device: DeviceOption = None) -> None:
    """Score a run's saved model on its data again."""
    from imcswav import api, console

    console.scores(api.evaluate(run, device=device or "auto"))


def predict(
    run: RunArgument,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="CSV file to write; refused if it exists.")] = Path("labels.csv"),
    device: DeviceOption = None,
) -> None:
    """Assign images to the clusters of a run; unreadable ones are listed apart."""
    from imcswav import console
    from imcswav.predict import predict_files

    console.predicted(predict_files(run, images, out, device=device or "auto"))
