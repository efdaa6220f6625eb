"""Where recipes come from: shipped ones, files, dicts, and the chain of ``extends``."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from imcswav.errors import Problem, RecipeError
from imcswav.plugins import did_you_mean
from imcswav.recipe.errors import Path as Keys
from imcswav.recipe.errors import plain, short
from imcswav.recipe.merge import odd, unaliased
from imcswav.recipe.toml_lines import TomlLines


@dataclass(frozen=True)
class Layer:
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


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, sorted; those in sub-folders as "plus/digits/a_baseline"."""
    return sorted(path.relative_to(shipped()).with_suffix("").as_posix() for path in shipped().rglob("*.toml"))


def read_layers(source: str | Path | Mapping[str, Any]) -> list[Layer]:
    """The source and what it extends, directly or not; the last word first."""
    if isinstance(source, Mapping):
        layer, folder, seen = _checked(Layer("recipe", unaliased(source))), Path(), []
    else:
        path = _find(str(source), Path())
        name = _title(path, str(source))
        if not _there(path):
            what = "there is no such file." if _is_path(str(source)) else "there is no such recipe."
            raise RecipeError(name, [Problem("", what, _nearby(str(source), Path()))])
        layer, folder, seen = _read(path, name), path.parent, [os.path.realpath(path)]
    layers = [layer]
    while "extends" in layer.tables:
        path = _base(layer, folder, seen)
        beside = os.path.normpath(Path(layer.name).parent / layer.tables["extends"])
        layer = _read(path, _title(path, beside))
        folder, seen, layers = path.parent, [*seen, os.path.realpath(path)], [*layers, layer]
    return layers


def extended(path: Path) -> Path | None:
    """The file that a recipe extends directly; None where it extends none, and where that can't be told."""
    try:
        layer = _read(path, str(path))
        return _base(layer, path.parent, []) if "extends" in layer.tables else None
    except RecipeError:  # loading it tells
        return None


def _base(layer: Layer, folder: Path, seen: list[str]) -> Path:
    """The file that ``extends`` names."""
    wanted, remedy = layer.tables["extends"], ""
    if isinstance(wanted, str) and wanted:
        path = _find(wanted, folder)
        if not _there(path):
            message, remedy = f"there is no recipe {short(wanted)}.", _nearby(wanted, folder)
        elif os.path.realpath(path) in seen:
            message = f"{short(wanted)} extends this recipe in turn; one of them has to stand alone."
            if os.path.realpath(path) == seen[-1]:
                message = f"{short(wanted)} is this recipe itself; name another one, or a shipped one without .toml."
        else:
            return path
    else:
        message = f"must be another recipe's path or a shipped recipe's name, not {short(wanted)}."
    problem = Problem("extends", message, remedy, plain(wanted), where=layer.place(("extends",)))
    raise RecipeError(layer.name, [problem])


def _title(path: Path, otherwise: str) -> str:
    """What messages call a file: a shipped one by its place among them, others as they were named."""
    place, home = Path(os.path.normpath(path)), shipped()
    return place.relative_to(home).as_posix() if place.is_relative_to(home) else otherwise


def _is_path(text: str) -> bool:
    return text.endswith(".toml") or "/" in text or os.sep in text


def _find(text: str, folder: Path) -> Path:
    """The file beside, else the shipped recipe of that name, with or without ".toml"; a bare name is one's first."""
    name, beside = text.removesuffix(".toml"), folder / text
    if name not in recipe_names() or (_is_path(text) and _there(beside)):
        return beside
    return shipped() / f"{name}.toml"


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
    if text and (shipped() / text).is_dir():
        return f"It is a ladder of recipes: imcswav ladder {text}"
    beside = (folder / text).parent
    try:
        local = [
            str(Path(text).parent / path.name)
            for path in sorted(beside.glob("*.toml"))
            if path.name != "pyproject.toml"
        ]
    except (OSError, ValueError):
        local = []
    known = recipe_names() + [name for name in local if name != text]
    known.sort(key=lambda name: Path(name).parent != Path(text).parent)  # of two with one stem, that in the same folder
    if whole := difflib.get_close_matches(text, known, n=1, cutoff=0.8):
        return f"Did you mean '{whole[0]}'?"
    stems = {Path(name).stem: name for name in reversed(known)}
    close = difflib.get_close_matches(Path(text).stem, stems, n=1)
    return f"Did you mean '{stems[close[0]]}'?" if close else did_you_mean("", known[:12])


def _read(path: Path, name: str) -> Layer:
    """One file; raises RecipeError with one sentence when it is no TOML."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
            raise _unreadable(name, "is no regular file.")
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
    except RecipeError:
        raise
    except ValueError as error:
        raise _syntax_error(name, str(error), text) from None
    if not tables:
        raise _unreadable(name, "is empty; a recipe needs at least a name, clusters, [data] and an [optimizer].")
    _checked(Layer(name, tables))
    return Layer(name, tables, TomlLines(text).lines)


def _checked(layer: Layer) -> Layer:
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


def shipped() -> Path:
    """The folder of the recipes that come with the package."""
    package = Path(str(files("imcswav")))
    inside = package / "_recipes"
    return inside if inside.is_dir() else package.parent / "recipes"  # the latter in a checkout
