"""The recipes of a ladder, checked before the first of its runs: all that is wrong in any rung at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from imcswav.api import with_data
from imcswav.check import check_recipe, raise_errors
from imcswav.data import Data, DataFacts
from imcswav.errors import ImcswavError, Problem, RecipeError
from imcswav.plugins import did_you_mean
from imcswav.recipe import Recipe
from imcswav.recipe.files import load_recipe, placed
from imcswav.recipe.ladders import Ladder
from imcswav.recipe.merge import Overrides
from imcswav.start import check_rung


def checked_recipes(ladder: Ladder, overrides: Overrides, data: Any) -> dict[str, Recipe]:
    """The recipe of each rung; raises RecipeError with every problem that can be known before a run."""
    recipes: dict[str, Recipe] = {}
    found: dict[Problem, list[str]] = {}
    for number, (name, path) in enumerate(ladder.rungs.items()):
        try:
            recipes[name] = _checked(path, overrides, data, list(ladder.rungs)[:number], recipes)
        except RecipeError as error:
            for problem in error.problems:
                place = "" if problem.path else error.source  # what was changed from Python has none
                told = replace(problem, where=problem.where or place, value=None)
                found.setdefault(told, []).append(name)
    if found:
        raise RecipeError(ladder.name, [_with_rungs(one, names, ladder) for one, names in found.items()])
    return recipes


def rung_to_start_from(recipe: Recipe) -> str | None:
    """The rung whose runs a second stage starts from; None of others, and where a run is given in its place."""
    return recipe.init.rung if recipe.init is not None and recipe.init.run is None else None


def _with_rungs(problem: Problem, names: list[str], ladder: Ladder) -> Problem:
    which = "every rung" if len(names) == len(ladder.rungs) > 1 else ", ".join(names)
    return replace(problem, where=f"{which}: {problem.where}".removesuffix(": "))


def _checked(path: Path, overrides: Overrides, data: Any, before: list[str], lower: Mapping[str, Recipe]) -> Recipe:
    """A rung's recipe; ``lower`` are those of the rungs ``before`` it, as far as they are sound. Raises RecipeError."""
    changes = with_data(overrides, data)
    recipe = load_recipe(path, changes)
    start = rung_to_start_from(recipe)
    if start is not None and start not in before:
        message = f"there is no rung '{start}' before this one to start from."
        problem = Problem("init.rung", message, did_you_mean(start, before))
        raise RecipeError(str(path), placed([problem], path, changes))
    if data is None or isinstance(data, Data):  # of others only the run will know what they hold
        facts = None if data is None else data.facts
        # the run to start from is only there when its rung has been run
        problems = check_recipe(recipe if start is None else recipe.model_copy(update={"init": None}), facts)
        if start is not None and start in lower:
            problems += check_rung(recipe, lower[start], facts or _facts(recipe))
        raise_errors(str(path), placed(problems, path, changes))
    return recipe


def _facts(recipe: Recipe) -> DataFacts | None:
    try:
        facts: DataFacts = recipe.data.facts()  # type: ignore[attr-defined]
    except ImcswavError:  # the other checks tell
        return None
    return facts
