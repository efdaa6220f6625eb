"""What a data set is: images per split, classes, and the mean and standard deviation of its training images."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.table import Table

from imcswav.data import Data, Split
from imcswav.errors import DataError, Problem, RecipeError
from imcswav.part import Part
from imcswav.plugins import did_you_mean, registry
from imcswav.recipe.errors import problems_of
from imcswav.recipe.files import load_recipe, recipe_names
from imcswav.recipe.merge import apply, parse_overrides

Figures = tuple[float, ...]


@dataclass(frozen=True)
class Stats:
    """A built data set; the ``measured`` mean and std of its training images (a value a channel, in [0, 1]).

    ``used`` are those a recipe normalises with, None where only a data set was named.
    """

    data: Data
    measured: tuple[Figures, Figures]
    used: tuple[Figures, Figures] | None


def data_stats(source: str, changes: Sequence[str] = ()) -> Stats:
    """Read the data of a recipe (a TOML file or a shipped recipe's name), or of a data set by its name.

    Every training image is read, of streamed ones too. Raises RecipeError, DataError.
    """
    sets, recipes = registry().names("data"), recipe_names()
    if source not in [*sets, *recipes] and not os.path.exists(source) and not Path(source).suffix:
        raise DataError(f"There is no recipe or data set '{source}'. {did_you_mean(source, [*recipes, *sets])}")
    named = source in sets and source not in recipes
    recipe = None if named else load_recipe(source, changes)
    settings = _settings(source, changes) if recipe is None else recipe.data
    data: Data = settings.build()
    measured = copy.copy(data.readable())
    measured.measure()
    views: Any = getattr(getattr(recipe, "learner", None), "views", None)
    used = (getattr(views, "mean", None) or data.mean, getattr(views, "std", None) or data.std)
    return Stats(data, (measured.mean, measured.std), used if recipe is not None else None)


def _settings(name: str, changes: Sequence[str]) -> Any:
    tables: dict[str, Any] = {"data": {"name": name}}
    parsed, problems = parse_overrides(changes)
    others = [change for change in parsed if change.path[0] != "data"]
    problems += [Problem(_typed(one.path), "is no setting of the data.", "Write data.x=y.") for one in others]
    problems += apply(tables, parsed)
    if problems:
        raise RecipeError(name, problems)
    try:
        return Part("data").validate(tables["data"])
    except ValidationError as error:
        raise RecipeError(name, problems_of(error, tables=tables["data"])) from error


def _typed(path: Sequence[str | int]) -> str:
    return ".".join(map(str, path)).removeprefix("learner.")


def shown(stats: Stats) -> list[Table | str]:
    """What the command prints: tables, and the measured constants as TOML."""
    data, known = stats.data, stats.data.facts
    splits = Table("split", "images", "labelled", "subsets", title=data.name)
    for name, split in (("train", data.train), ("test", data.test)):
        if split is not None:
            members = ", ".join(f"{subset}: {int(is_in.sum()):,}" for subset, is_in in split.subsets.items())
            splits.add_row(name, f"{len(split):,}", f"{_labelled(split):,}", members)
    constants = Table("constants", "mean", "std")
    constants.add_row("measured", *map(_row, stats.measured))
    constants.add_row("the data set's own", _row(data.mean), _row(data.std))
    if stats.used is not None:
        constants.add_row("in use by the recipe", *map(_row, stats.used))
    facts = f"{known.size} × {known.size} pixels, {known.channels} channels, {len(data.class_names)} named classes"
    skipped = (
        [f"{len(data.skipped)} files can't be read, the first {': '.join(data.skipped[0])}."] if data.skipped else []
    )
    mean, std = map(_row, stats.measured)
    return [splits, facts, *skipped, constants, f"[views]\nmean = [{mean}]\nstd = [{std}]"]


def _labelled(split: Split) -> int:
    return 0 if split.labels is None else int((split.labels >= 0).sum())


def _row(values: Figures) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
