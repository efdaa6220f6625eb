"""Loading a recipe, with all its problems at once, and writing one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from imcswav.errors import Problem, RecipeError
from imcswav.recipe import Recipe, gather
from imcswav.recipe.errors import Path as Keys
from imcswav.recipe.errors import problems_of, shown, written
from imcswav.recipe.merge import Override, Overrides, apply, merge, odd, parse_overrides, turning, unaliased
from imcswav.recipe.salvage import salvage
from imcswav.recipe.sources import Layer, read_layers, recipe_names

__all__ = ["dump_recipe", "load_recipe", "placed", "problems_of", "recipe_names"]


_TEXTUAL = ("string_type", "path_type", "literal_error", "enum")


@dataclass(frozen=True)
class _Origin:
    """What a recipe was put together from: its layers, the last word first, and the overrides."""

    layers: list[Layer]
    changes: list[Override]

    @property
    def name(self) -> str:
        return self.layers[0].name

    def where(self, path: Keys) -> str:
        """File and line of a path in gathered tables, or of what it is in."""
        keys = tuple(map(str, path))
        for change in self.changes:
            asked = tuple(map(str, change.path))
            renamed = asked[-1] in turning() and asked[:-1] == keys
            table = path[:-1] if len(path) > 2 and path[-1] == "name" else path
            made = asked[: len(table)] == keys[: len(table)] and not self._in_file(table)  # by an override alone
            if keys[: len(asked)] == asked or (keys and (renamed or made)):
                return change.where
        for length in range(len(path), 0, -1):
            for layer in self.layers:
                if place := layer.place(path[:length]):
                    return place
        return self.name if self.layers[0].lines else ""

    def _in_file(self, path: Keys) -> bool:
        return any(layer.place(path) for layer in self.layers if path)

    def rename(self, path: Keys) -> Keys:
        """The path as written: below [learner] only where the user put it there."""
        if len(path) < 2:
            return path
        in_file = any(path[1] in _learner(layer.tables) for layer in self.layers)
        asked = any(change.in_learner and change.path[:2] in (path[:2], path[:1]) for change in self.changes)
        return path if in_file or asked else shown(path)

    def doubled(self) -> list[Problem]:
        """Settings of the learner that stand in [learner] and at the top level of one file."""
        return [
            Problem(key, "stands both at the top level and in [learner].", "Keep one.", where=self.where((key,)))
            for layer in self.layers
            for key in sorted(_learner(layer.tables) & layer.tables.keys() - Recipe.model_fields.keys())
        ]


def _learner(tables: Mapping[str, Any]) -> set[str]:
    learner = tables.get("learner")
    return set(learner) if isinstance(learner, dict) else set()


def load_recipe(source: str | Path | Mapping[str, Any], overrides: Overrides = ()) -> Recipe:
    """The validated recipe of a TOML file, of a shipped recipe's name, or of a dict.

    ``overrides`` are "path=value" texts (value: TOML, else plain text; ``null`` removes the key) and mappings
    of dotted paths to values, or one mapping. Their order doesn't matter, but of two for the same path the later wins.
    Raises RecipeError with every problem found.
    """
    origin, _, problems, recipe, _ = _load(source, overrides)
    if problems or recipe is None:
        raise RecipeError(origin.name, problems)
    return recipe


@dataclass(frozen=True)
class Loaded:
    """A recipe with its mistakes: ``problems`` has all that the schema finds, with file and line.

    ``recipe`` is without them, so that the rest can be checked too; ``wrong`` are the dotted places that can't be
    relied on in it (see imcswav/recipe/salvage.py). None where nothing can be checked.
    """

    name: str
    recipe: Recipe | None
    problems: list[Problem]
    wrong: frozenset[str] = frozenset()


def load_partly(source: str | Path | Mapping[str, Any], overrides: Overrides = ()) -> Loaded:
    """As ``load_recipe``, but mistakes in settings are returned.

    Raises RecipeError where there are no settings yet: no such file, no TOML, an override that is none.
    """
    origin, tables, problems, recipe, error = _load(source, overrides)
    if recipe is not None or error is None:
        return Loaded(origin.name, recipe, problems)
    recipe, wrong = salvage(tables, error)
    return Loaded(origin.name, recipe, problems, wrong)


def _load(
    source: str | Path | Mapping[str, Any], overrides: Overrides
) -> tuple[_Origin, dict[str, Any], list[Problem], Recipe | None, ValidationError | None]:
    """Where it came from, its tables, their problems, and the recipe or the error of its validation."""
    layers = read_layers(source)
    changes, problems = parse_overrides(overrides)
    for change in changes:
        problems += [replace(one, where=change.where) for one in odd(change.value, change.path)]
    origin = _Origin(layers, changes)
    if problems:
        raise RecipeError(origin.name, problems)
    tables, problems = _combined(layers, changes)
    recipe, found = _attempt(tables)
    if isinstance(found, ValidationError) and (retyped := _as_text(changes, found, tables)):
        tables, problems = _combined(layers, retyped)
        recipe, found = _attempt(tables)
    if isinstance(found, ValidationError):
        problems += problems_of(found, origin.where, tables=tables, rename=origin.rename)
    elif found:
        problems.append(Problem("", f"can't be checked: {found}."))
    problems += origin.doubled()
    return origin, tables, problems, recipe, found if isinstance(found, ValidationError) else None


def placed(
    problems: Iterable[Problem], source: str | Path | Mapping[str, Any], overrides: Overrides = ()
) -> list[Problem]:
    """Problems found after loading (by checks between parts), with file and line filled in."""
    origin = _Origin(read_layers(source), parse_overrides(overrides)[0])
    return [one if one.where else replace(one, where=origin.where(_keys(one.path))) for one in problems]


def dump_recipe(recipe: Recipe) -> str:
    """TOML text with every default spelled out and None left out; loading it gives an equal recipe."""
    return tomli_w.dumps(recipe.tables())


def _keys(path: str) -> Keys:
    keys: Keys = tuple(int(key) if key.isdecimal() else key for key in path.split("."))
    return keys if keys[0] in Recipe.model_fields else ("learner", *keys)


def _attempt(tables: dict[str, Any]) -> tuple[Recipe | None, Exception | None]:
    try:
        return Recipe.model_validate(tables), None
    except (ValidationError, RecursionError, OverflowError) as error:
        return None, error


def _as_text(changes: list[Override], error: ValidationError, tables: Any) -> list[Override]:
    """The overrides with the text as typed where it reads as a number but has to be text; [] if none."""
    places = {
        tuple(map(str, written(one, tables))) for one in error.errors(include_url=False) if one["type"] in _TEXTUAL
    }
    wrong = [
        change.text is not None and not isinstance(change.value, str) and tuple(map(str, change.path)) in places
        for change in changes
    ]
    pairs = zip(changes, wrong, strict=True)
    return [replace(change, value=change.text) if bad else change for change, bad in pairs] if any(wrong) else []


def _combined(layers: list[Layer], changes: list[Override]) -> tuple[dict[str, Any], list[Problem]]:
    tables: dict[str, Any] = {}
    for layer in reversed(layers):
        left_out = {"extends"} if layer is layers[0] else {"extends", "expected"}  # figures are of one file's settings
        own = {key: value for key, value in layer.tables.items() if key not in left_out}
        tables = merge(tables, gather(own))
    tables = unaliased(tables)
    return tables, apply(tables, changes)
