"""What of a recipe with mistakes can be checked all the same: without the mistakes, whose places are named."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from imcswav.component import Component
from imcswav.recipe import Recipe
from imcswav.recipe.errors import Path, dotted, shown, written

STAND_INS: dict[str, Any] = {
    "name": "recipe",
    "clusters": 2,
    "data": Component.Config(),
    "learner": Component.Config(),
}
"""Of sections that have no default. A plain Config says that nothing is known of the section."""


def salvage(tables: dict[str, Any], error: ValidationError) -> tuple[Recipe | None, frozenset[str]]:
    """The recipe without what is wrong in its tables, and dotted places whose settings can't be relied on.

    A wrong setting takes its default and is named. A misspelt one makes its whole table unreliable, since nobody knows
    which setting was meant. A section of which nothing is left has a stand-in. None where even that is no recipe.
    """
    left, wrong = copy.deepcopy(tables), set[str]()
    for found in reversed(error.errors(include_url=False)):  # of an array the last entry first
        wrong |= _leave_out(left, written(found, tables), found)
    try:
        return Recipe.model_validate(left), frozenset(wrong)
    except ValidationError as again:
        lost = {str(found["loc"][0]) for found in again.errors(include_url=False) if found["loc"]}
    kept = {key: value for key, value in left.items() if key not in lost}
    stand_ins = {key: STAND_INS[key] for key in lost if key in STAND_INS}
    try:
        return Recipe.model_validate(kept | stand_ins), frozenset(wrong | lost)
    except ValidationError:
        return None, frozenset()


def sound(wrong: Iterable[str], *places: str) -> bool:
    """Whether nothing in or around these dotted places is among the ``wrong`` ones."""
    return not any(within(one, place) or within(place, one) for one in wrong for place in places)


def within(place: str, table: str) -> bool:
    """Whether a dotted place is a table or something in it."""
    return f"{place}.".startswith(f"{table}.")


def beside(place: str, wrong: Iterable[str]) -> bool:
    """Whether a dotted place is in the same table as one of the ``wrong`` ones, or within that."""
    return any(within(place, one) or place.rpartition(".")[0] == one.rpartition(".")[0] for one in wrong)


def _leave_out(tables: dict[str, Any], path: Path, found: Any) -> set[str]:
    """Remove what is wrong; gives the places that can't be relied on."""
    kind = found["type"]
    if not path:
        return set()
    if kind != "missing":
        _remove(tables, path)
    unknown = kind == "unknown_key"
    if unknown and path[0] == "learner" and len(path) == 2:  # it may be one of the recipe's tables, misspelt
        return {"learner", *get_close_matches(str(path[1]), Recipe.model_fields, n=1)}
    place = path[:-1] if unknown or kind == "missing" or isinstance(path[-1], int) else path  # entries behind moved up
    return {dotted(shown(place))} if place else {str(path[0])}


def _remove(tables: Any, path: Path) -> None:
    """Take the entry away, if it is still there."""
    *above, last = path
    for key in above:
        try:
            tables = tables[key]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(tables, dict):
        tables.pop(last, None)
    elif isinstance(tables, list) and isinstance(last, int) and last < len(tables):
        del tables[last]
