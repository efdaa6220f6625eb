"""Recipes in files: finding them, ``extends``, overrides, all problems at once; and writing them."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from imcswav.errors import Problem, RecipeError
from imcswav.plugins import did_you_mean
from imcswav.recipe import Recipe, gather
from imcswav.recipe_errors import Path as Keys
from imcswav.recipe_errors import plain, problems_of, short, shown, written
from imcswav.recipe_merge import Override, apply, merge, odd, parse_overrides, unaliased
from imcswav.toml_lines import TomlLines

__all__ = ["dump_recipe", "load_recipe", "placed", "problems_of", "recipe_names"]

Overrides = Sequence[str] | Mapping[str, Any]

_TEXTUAL = ("string_type", "path_type", "literal_error", "enum")


@dataclass(frozen=True)
class _Layer:
    """One file's tables as written, and the lines they stand on."""

    name: str
    tables: dict[str, Any]
    lines: Mapping[Keys, int] = field(default_factory=dict)

    def place(self, path: Keys) -> str:
        """ "file.toml:7" for a place in gathered tables; "" when it isn't in this file."""
        line = self.lines.get(path)
        if line is None and path[0] == "learner":
            line = self.lines.get(path[1:])
        return f"{self.name}:{line}" if line else ""


@dataclass(frozen=True)
class _Origin:
    """What a recipe was put together from: its layers, the last word first, and the overrides."""

    layers: list[_Layer]
    changes: list[Override]

    @property
    def name(self) -> str:
        return self.layers[0].name

    def where(self, path: Keys) -> str:
        """File and line of a path in gathered tables, or of what it is in."""
        keys = tuple(map(str, path))
        for change in self.changes:
            asked = tuple(map(str, change.path))
            if keys[: len(asked)] == asked or (asked[-1] == "name" and asked[:-1] == keys and keys):
                return "--set"
        for length in range(len(path), 0, -1):
            for layer in self.layers:
                if place := layer.place(path[:length]):
                    return place
        return self.name if self.layers[0].lines else ""

    def rename(self, path: Keys) -> Keys:
        """The path as written: below [learner] only where the user put it there."""
        kept = any(path[1] in _learner(layer.tables) for layer in self.layers) if len(path) > 1 else True
        return path if kept or not path else shown(path)

    def doubled(self) -> list[Problem]:
        """Settings of the learner that stand in [learner] and at the top level of one file."""
        return [
            Problem(
                key, "stands both at the top level and in [learner].", "Keep one.", where=self.where((key,))
            )
            for layer in self.layers
            for key in sorted(_learner(layer.tables) & layer.tables.keys() - Recipe.model_fields.keys())
        ]


def _learner(tables: Mapping[str, Any]) -> set[str]:
    learner = tables.get("learner")
    return set(learner) if isinstance(learner, dict) else set()


def load_recipe(source: str | Path | Mapping[str, Any], overrides: Overrides = ()) -> Recipe:
    """The validated recipe of a TOML file, of a shipped recipe's name, or of a dict.

    ``overrides`` are "path=value" texts (value: TOML, else plain text; ``null`` removes the key) or a mapping
    of dotted paths to values. Their order doesn't matter, but of two for the same path the later wins.
    Raises RecipeError with every problem found.
    """
    layers = _layers(source)
    changes, problems = parse_overrides(overrides)
    for change in changes:
        problems += [replace(one, where="--set") for one in odd(change.value, change.path)]
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
    if problems or recipe is None:
        raise RecipeError(origin.name, problems)
    return recipe


def placed(
    problems: Iterable[Problem], source: str | Path | Mapping[str, Any], overrides: Overrides = ()
) -> list[Problem]:
    """Problems found after loading (by checks between parts), with file and line filled in."""
    origin = _Origin(_layers(source), parse_overrides(overrides)[0])
    return [one if one.where else replace(one, where=origin.where(_keys(one.path))) for one in problems]


def dump_recipe(recipe: Recipe) -> str:
    """TOML text with every default spelled out and None left out; loading it gives an equal recipe."""
    return tomli_w.dumps(recipe.tables())


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, sorted."""
    return sorted(path.stem for path in _shipped().glob("*.toml"))


def _shipped() -> Path:
    package = Path(str(files("imcswav")))
    inside = package / "_recipes"
    return inside if inside.is_dir() else package.parent / "recipes"  # the latter in a checkout


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
        tuple(map(str, written(one, tables)))
        for one in error.errors(include_url=False)
        if one["type"] in _TEXTUAL
    }
    wrong = [
        change.text is not None
        and not isinstance(change.value, str)
        and tuple(map(str, change.path)) in places
        for change in changes
    ]
    pairs = zip(changes, wrong, strict=True)
    return (
        [replace(change, value=change.text) if bad else change for change, bad in pairs] if any(wrong) else []
    )


def _combined(layers: list[_Layer], changes: list[Override]) -> tuple[dict[str, Any], list[Problem]]:
    tables: dict[str, Any] = {}
    for layer in reversed(layers):
        own = {key: value for key, value in layer.tables.items() if key != "extends"}
        tables = merge(tables, gather(own))
    tables = unaliased(tables)
    return tables, apply(tables, changes)


def _layers(source: str | Path | Mapping[str, Any]) -> list[_Layer]:
    """The source and what it extends, directly or not; the last word first."""
    if isinstance(source, Mapping):
        layer, folder, seen = _checked(_Layer("recipe", unaliased(source))), Path(), []
    else:
        path = _find(str(source), Path())
        name = path.name if path.parent == _shipped() else str(source)
        if not _there(path):
            what = "there is no such file." if _is_path(str(source)) else "there is no such recipe."
            raise RecipeError(name, [Problem("", what, _nearby(str(source), Path()))])
        layer, folder, seen = _read(path, name), path.parent, [os.path.realpath(path)]
    layers = [layer]
    while "extends" in layer.tables:
        path = _base(layer, folder, seen)
        beside = os.path.normpath(Path(layer.name).parent / layer.tables["extends"])
        name = path.name if path.parent == _shipped() else beside
        layer = _read(path, name)
        folder, seen, layers = path.parent, [*seen, os.path.realpath(path)], [*layers, layer]
    return layers


def _base(layer: _Layer, folder: Path, seen: list[str]) -> Path:
    """The file that ``extends`` names."""
    wanted, remedy = layer.tables["extends"], ""
    if isinstance(wanted, str) and wanted:
        path = _find(wanted, folder)
        if not _there(path):
            message, remedy = f"there is no recipe {short(wanted)}.", _nearby(wanted, folder)
        elif os.path.realpath(path) in seen:
            message = f"{short(wanted)} extends this recipe in turn; one of them has to stand alone."
        else:
            return path
    else:
        message = f"must be another recipe's path or a shipped recipe's name, not {short(wanted)}."
    problem = Problem("extends", message, remedy, plain(wanted), where=layer.place(("extends",)))
    raise RecipeError(layer.name, [problem])


def _is_path(text: str) -> bool:
    return text.endswith(".toml") or "/" in text or os.sep in text


def _find(text: str, folder: Path) -> Path:
    """A shipped recipe for a bare name that is one's, else the file."""
    shipped = _shipped() / f"{text}.toml"
    return shipped if not _is_path(text) and text in recipe_names() else folder / text


def _there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:  # reading it will tell what is wrong
        return True
    return True


def _nearby(text: str, folder: Path) -> str:
    """What could have been meant: a shipped recipe or a file in the same folder."""
    beside = (folder / text).parent
    try:
        local = [str(Path(text).parent / path.name) for path in sorted(beside.glob("*.toml"))]
    except (OSError, ValueError):
        local = []
    known = recipe_names() + [name for name in local if name != text]
    stems = {Path(name).stem: name for name in reversed(known)}
    close = difflib.get_close_matches(Path(text).stem, stems, n=1)
    return f"Did you mean '{stems[close[0]]}'?" if close else did_you_mean("", known[:12])


def _read(path: Path, name: str) -> _Layer:
    """One file; raises RecipeError with one sentence when it is no TOML."""
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        tables = tomllib.loads(text)
    except IsADirectoryError:
        raise _unreadable(name, "is a folder, not a recipe.") from None
    except UnicodeDecodeError as error:
        raise _unreadable(name, f"is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    except OSError as error:
        raise _unreadable(name, f"can't be read: {error.strerror or error}.") from None
    except RecursionError:
        raise _unreadable(name, "is nested too deeply.") from None
    except ValueError as error:
        raise _syntax_error(name, str(error), text) from None
    if not tables:
        raise _unreadable(
            name, "is empty; a recipe needs at least a name, clusters, [data] and an [optimizer]."
        )
    _checked(_Layer(name, tables))
    return _Layer(name, tables, TomlLines(text).lines)


def _checked(layer: _Layer) -> _Layer:
    if problems := odd(layer.tables):
        raise RecipeError(layer.name, problems)
    return layer


def _unreadable(name: str, message: str) -> RecipeError:
    return RecipeError(name, [Problem("", message)])


def _syntax_error(name: str, message: str, text: str) -> RecipeError:
    at = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    line = int(at[1]) if at and at[1] else len(text.splitlines()) or 1
    column = f" (column {at[2]})" if at and at[2] else ""
    message = f"is not valid TOML: {message[: at.start()] if at else message}{column}."
    return RecipeError(name, [Problem("", message, where=f"{name}:{line}" if at else "")])
