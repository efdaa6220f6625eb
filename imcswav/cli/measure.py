"""The command that measures: bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import DeviceOption, RecipeArgument, SetOption


def bench(
    recipe: RecipeArgument,
    changes: SetOption = [],  # noqa: B006
    against: Annotated[str | None, typer.Option(help="loop: also a plain loop, alternated; results compared.")] = None,
    suite: Annotated[bool, typer.Option("--suite", help="Also variants, growth, evaluation time, a profile.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of --against.")] = 9,
    batch: Annotated[int | None, typer.Option(min=2, help="Images a step; on a CPU 32 at most by default.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Also compare augmentation and losses compiled.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write every figure to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the suite's growth into this PNG.")] = None,
    device: DeviceOption = None,
) -> None:
    """Measure a recipe's training step: time and its shares, operations, memory; nothing is trained or kept."""
    from imcswav.bench.run import bench as measure

    overrides = [*changes, *([f"trainer.device={device}"] if device is not None else [])]
    measure(
        recipe, overrides, against=against, with_suite=suite, rounds=rounds, batch=batch, compiled=compiled,
        json_file=json, markdown_file=markdown, plot_file=plot,
    )  # fmt: skip
