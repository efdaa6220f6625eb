"""Commands that look without training: check, list, show."""

from __future__ import annotations

from typing import Annotated

import typer

from imcswav.cli.options import RecipeArgument, SetOption


def check(recipe: RecipeArgument, changes: SetOption = []) -> None:  # noqa: B006
    """Find everything that `run` would refuse, and say what a run would cost."""
    from imcswav import console
    from imcswav.check import check_recipe, raise_errors
    from imcswav.cost import estimate
    from imcswav.recipe.files import load_recipe, placed

    loaded = load_recipe(recipe, changes)
    for problem in raise_errors(recipe, placed(check_recipe(loaded), recipe, changes)):
        console.warn(problem)
    console.costs(loaded, estimate(loaded))


def list_components(
    kind: Annotated[str | None, typer.Argument(help="Only this kind, e.g. loss.")] = None,
    pattern: Annotated[
        str | None, typer.Option("--filter", help="Only names like this, timm's models among them, e.g. 'vit*'.")
    ] = None,
) -> None:
    """List the components that recipes can name, and the package each came from; `list recipe`: shipped recipes."""
    from imcswav import console

    console.components(kind, pattern)


def show(
    kind: Annotated[
        str, typer.Argument(help="A kind, e.g. loss; or recipe, trainer, predict, evaluation, init, expected.")
    ],
    name: Annotated[str | None, typer.Argument(help="The component's name; left out: all of the kind.")] = None,
) -> None:
    """Every setting of a component: type, default, range, meaning; its source; its package."""
    from imcswav import console

    console.component(kind, name)
