"""Commands that train: run, resume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import DeviceOption, RecipeArgument, RunArgument, SetOption
from imcswav.errors import ImcswavError


def run(
    recipe: RecipeArgument,
    changes: SetOption = [],  # noqa: B006 (typer copies it)
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this recipe's latest unfinished run.")] = False,
    out: Annotated[Path | None, typer.Option(help="Run folder, new or empty (default runs/<name>/<time>).")] = None,
    device: DeviceOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
) -> None:
    """Train by a recipe, evaluate, and write a run folder."""
    from imcswav import api, console
    from imcswav.recipe_files import load_recipe
    from imcswav.runs import RunFolder

    overrides = list(changes)
    overrides += [f"trainer.device={device}"] if device is not None else []
    overrides += [f"seed={seed}"] if seed is not None else []
    if resume:
        if out is not None:
            raise ImcswavError("--resume and --out can't go together; name the folder: imcswav resume RUN.")
        console.finished(api.resume(RunFolder.latest_unfinished(load_recipe(recipe, overrides)).path))
    else:
        console.finished(api.run(recipe, overrides, out=out, warn=console.warn))


def resume(run: RunArgument, device: DeviceOption = None) -> None:
    """Go on with an interrupted run from its newest checkpoint."""
    from imcswav import api, console
    from imcswav.runs import RunFolder

    before = RunFolder.open(run).finished
    console.finished(api.resume(run, device=device), before)
