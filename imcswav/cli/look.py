"""Commands that look without training: check, list, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import DeviceOption, RecipeArgument, SetOption, kinds
from imcswav.errors import RecipeError


def check(
    recipe: RecipeArgument,
    changes: SetOption = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="The run folder to be (default runs/<name>/<time>).")] = None,
    device: DeviceOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Time no steps.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write what was found to this file; refused if it exists.")] = None,
) -> None:
    """Find everything that `run` would refuse, all at once, and say what a run would cost. Writes no run folder.

    Some images of the data are decoded, and some steps are timed on random images: on a GPU with the whole batch, as
    the recipe has it compiled, which takes a minute or two. Warnings leave the exit code at 0, errors make it 2.
    """
    from imcswav import console
    from imcswav.files import refuse_existing, write_json
    from imcswav.preflight import preflight

    refuse_existing(json)
    overrides = [*changes, *([f"trainer.device={device}"] if device is not None else [])]
    found = preflight(recipe, overrides, out, steps=not quick)
    if json is not None:
        write_json(json, found.table(), new=True)
    for problem in found.warnings:
        console.warn(problem)
    if found.errors:
        raise RecipeError(found.name, found.errors)
    console.costs(found)


def list_components(
    kind: Annotated[str | None, typer.Argument(help="Only this kind, e.g. loss.", autocompletion=kinds)] = None,
    pattern: Annotated[
        str | None, typer.Option("--filter", help="Only names like this, timm's models among them, e.g. 'vit*'.")
    ] = None,
) -> None:
    """List the components that recipes can name, and the package each came from; `list recipe`: shipped recipes."""
    from imcswav import console

    console.components(kind, pattern)


def show(
    kind: Annotated[
        str,
        typer.Argument(
            help="A kind, e.g. loss, or a component's name; or recipe, trainer, predict, evaluation, init, expected.",
            autocompletion=kinds,
        ),
    ],
    name: Annotated[str | None, typer.Argument(help="The component's name; left out: all of the kind.")] = None,
) -> None:
    """Every setting of a component: type, default, range, meaning; its source; its package."""
    from imcswav import console

    console.component(kind, name)
