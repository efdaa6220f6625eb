"""Recipes on top of recipes: merging tables, and ``--set path=value``."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imcswav.component import FOLDERS
from imcswav.errors import Problem
from imcswav.recipe import DEFAULT_LEARNER, Recipe
from imcswav.recipe.errors import Path, dotted, plain, short, shown

DEPTH = 40
"""Deepest nesting of a recipe; real ones need 5."""

Overrides = Sequence[str | Mapping[str, Any]] | Mapping[str, Any]
"""What changes a recipe: "a.b=value" texts, mappings of dotted paths to values, or one such mapping."""
TYPED = "--set"
"""The place of texts, as problems name it."""
_REMOVED = object()


@dataclass(frozen=True)
class Override:
    """``path`` gets ``value``; ``text`` is what the user typed, for a setting that turns out to be text.

    ``in_learner``: whether a path below "learner" was written so, for its tables may stand at the top level.
    """

    path: Path
    value: Any
    text: str | None = None
    """As it was typed; None where it came as a value, from Python."""
    in_learner: bool = False
    table: Path | None = None
    """Of a setting that was given in a table, the table."""

    @property
    def where(self) -> str:
        """The place that a problem with it names."""
        return "" if self.text is None else TYPED

    @property
    def plain(self) -> Any:
        """The value as a mapping of overrides would have it; None removes a setting."""
        return None if self.value is _REMOVED else self.value

    @property
    def turn(self) -> tuple[int, int]:
        """When it is applied: by how deep the table stands that is changed, and of one table its hinge last.

        A new name, or hinge, changes the table it is in.
        """
        last = self.path[-1]
        turns = last in turning() and len(self.path) > 1
        return len(self.path) - turns, int(turns and last != "name")


def merge(base: Any, new: Any, path: Path = ()) -> Any:
    """``new`` on top of ``base``: tables merge, all else replaces.

    A table whose name differs is another component, so nothing of ``base`` is kept. The recipe's own name is
    no such name. A bare name stands for a table with that name. What stays under another hinge (a backbone's
    ``model``) is the component's to say.
    """
    if isinstance(base, str) and isinstance(new, dict):
        base = {"name": base}
    if isinstance(base, dict) and isinstance(new, str):
        return base if _named(base, path) == new else new
    if not (isinstance(base, dict) and isinstance(new, dict)):
        return new
    if path and "name" in new and _named(base, path) not in (None, new["name"]):
        return new
    base = _inherited(base, new, path)
    return base | {key: merge(base[key], value, (*path, key)) if key in base else value for key, value in new.items()}


def _named(table: dict[str, Any], path: Path) -> Any:
    implied = DEFAULT_LEARNER if path == ("learner",) else path[-1] if path[0] == "callbacks" else None
    return table.get("name", implied if path[0] == "learner" or len(path) == 2 else None)


def _inherited(base: dict[str, Any], new: dict[str, Any], path: Path) -> dict[str, Any]:
    from imcswav.plugins import registry

    name = base.get("name", new.get("name"))
    for cls in registry() if name else ():
        if cls.name == name and cls.Config.hinge in new and {cls.kind, FOLDERS[cls.kind]} & set(path):
            return cls.Config.inherit(base, new)
    return base


def turning() -> set[str | None]:
    """Settings by which a table becomes that of another component, or of another kind of its own."""
    from imcswav.plugins import registry

    return {"name", *(cls.Config.hinge for cls in registry())}


def parse_overrides(overrides: Overrides) -> tuple[list[Override], list[Problem]]:
    """``a.b=value`` texts and mappings of dotted paths; in the order in which they must be applied."""
    parsed: list[Override] = []
    problems: list[Problem] = []
    for entry in [overrides] if isinstance(overrides, str | Mapping) else overrides:
        if isinstance(entry, Mapping):
            values = ((str(key), _REMOVED if value is None else unaliased(value)) for key, value in entry.items())
            given = [_override(key, value, None) for key, value in values]
            parsed = _added(parsed, given)
            continue
        key, equals, text = (part.strip() for part in str(entry).partition("="))
        if key and equals:
            parsed = _added(parsed, [_override(key, _value(text), text)])
        else:
            problems.append(Problem(short(entry), "is no setting.", "Write path=value.", entry, where=TYPED))
    return sorted(parsed, key=lambda override: override.turn), problems


def _added(parsed: list[Override], given: Sequence[Override]) -> list[Override]:
    """With further overrides: one that is no table takes the place of the tables given before for what it sets."""
    for override in given:
        leaves = _leaves(override)
        if leaves == [override]:
            size = len(override.path)
            parsed = [one for one in parsed if one.table is None or one.table[:size] != override.path]
        parsed = [*parsed, *leaves]
    return parsed


def _leaves(override: Override, depth: int = 0) -> list[Override]:
    """A table as its settings, so that of two overrides of one setting the later wins, however they were written."""
    table = override.value
    if not (isinstance(table, dict) and table and all(isinstance(key, str) for key in table)) or depth > DEPTH:
        return [override]
    whole = override.table or override.path
    parts = (
        replace(
            override,
            path=(*override.path, key),
            value=_REMOVED if value is None else value,
            text=None if override.text is None else _inline(value),
            table=whole,
        )
        for key, value in table.items()
    )
    return [leaf for part in parts for leaf in _leaves(part, depth + 1)]


def joined(overrides: Overrides, changes: Mapping[str, Any]) -> Overrides:
    """The overrides and further changes, which have the last word."""
    if isinstance(overrides, Mapping):
        return {**{key: value for key, value in overrides.items() if key not in changes}, **changes}
    return [*([overrides] if isinstance(overrides, str) else overrides), changes]


def typed(overrides: Overrides) -> list[str]:
    """All of them as texts, such as come after --set."""
    texts: list[str] = []
    for entry in [overrides] if isinstance(overrides, str | Mapping) else overrides:
        if isinstance(entry, Mapping):
            texts += [f"{key}={_inline(value)}" for key, value in entry.items()]
        else:
            texts.append(str(entry).strip())
    return texts


def _inline(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, Mapping):
        entries = {key: entry for key, entry in value.items() if entry is not None}  # TOML has no null
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_inline(entry)}" for key, entry in entries.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    value = value.item() if hasattr(value, "item") else value  # numpy's numbers
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, default=str, ensure_ascii=False)  # JSON's numbers, texts and truths are TOML's


def _override(key: str, value: Any, text: str | None) -> Override:
    keys = _keys(key)
    path = keys if keys[0] in Recipe.model_fields else ("learner", *keys)
    return Override(path, value, text, in_learner=keys[0] == "learner")


def _keys(key: str) -> Path:
    try:
        table: Any = tomllib.loads(f"{key} = 0")
    except (ValueError, RecursionError):
        keys: Path = tuple(key.split("."))
    else:
        keys = ()
        while isinstance(table, dict):
            ((first, table),) = table.items()
            keys = (*keys, first)
    return keys


def _value(text: str) -> Any:
    if text == "null":
        return _REMOVED
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def apply(tables: dict[str, Any], overrides: Sequence[Override]) -> list[Problem]:
    """Change ``tables`` in place; returns what did not fit."""
    found = [(override, _apply(tables, override)) for override in overrides]
    problems = [replace(problem, where=override.where) for override, problem in found if problem]
    _prune(tables)
    return problems


def _apply(tables: dict[str, Any], override: Override) -> Problem | None:
    path = override.path
    at: Any = tables
    if len(path) > DEPTH:
        return _misfit(path[:3], f"is followed by more than {DEPTH} keys.", None)
    for place, step in enumerate(path):
        key = _index(at, step)
        if key is None:
            return _out_of_range(at, path[: place + 1])
        old = at.get(key, _REMOVED) if isinstance(at, dict) else at[key]
        if place == len(path) - 1:
            _put(at, key, old, override)
            break
        if old is _REMOVED or old is None or isinstance(old, str):
            at[key] = {"name": old} if isinstance(old, str) else {}
        elif not isinstance(old, dict | list):
            return _misfit(path[: place + 1], f"is {short(old)} and has no '{path[place + 1]}'.", old)
        at = at[key]
    return None


def _put(at: Any, key: str | int, old: Any, override: Override) -> None:
    if isinstance(at, dict) and not (key == "name" and override.value is _REMOVED):
        merged = merge(dict(at), {key: override.value}, override.path[:-1])
        at.clear()
        at.update(merged)
    else:
        at[key] = merge(old, override.value, override.path)


def _index(at: Any, key: str | int) -> str | int | None:
    """``key`` as ``at`` takes it; None when ``at`` is an array without such an entry."""
    if isinstance(at, dict):
        return key
    text = str(key)
    return int(text) if text.isdecimal() and len(text) < 9 and int(text) < len(at) else None


def _out_of_range(at: list[Any], path: Path) -> Problem:
    entries = f"entries 0 to {len(at) - 1}" if len(at) > 1 else "entry 0 only" if at else "no entries"
    return _misfit(path, f"there is no such entry; {dotted(shown(path[:-1]))} has {entries}.", None)


def _misfit(path: Path, message: str, value: Any) -> Problem:
    return Problem(dotted(shown(path)), message, "", plain(value))


def _prune(at: Any) -> None:
    if isinstance(at, dict):
        for key in [key for key, value in at.items() if value is _REMOVED]:
            del at[key]
    elif isinstance(at, list):
        at[:] = [entry for entry in at if entry is not _REMOVED]
    for entry in at.values() if isinstance(at, dict) else at if isinstance(at, list) else ():
        _prune(entry)


def unaliased(value: Any, depth: int = 0) -> Any:
    """A copy of nested tables and arrays as dict and list; what lies deeper than DEPTH is left as it is."""
    if depth <= DEPTH and isinstance(value, Mapping):
        return {key: unaliased(entry, depth + 1) for key, entry in value.items()}
    if depth <= DEPTH and isinstance(value, list | tuple):
        return [unaliased(entry, depth + 1) for entry in value]
    return value


def odd(tables: Any, path: Path = ()) -> list[Problem]:
    """What no TOML file should hold, whatever the schema says; later steps rely on its absence."""
    problems, todo = [], [(path, tables)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, dict | list) and len(path) >= DEPTH:
            return [Problem(dotted(shown(path[:3])), f"is nested more than {DEPTH} deep.")]
        if isinstance(value, dict):
            todo += [((*path, key), entry) for key, entry in value.items()]
        elif isinstance(value, list):
            todo += [((*path, index), entry) for index, entry in enumerate(value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            problems.append(Problem(dotted(shown(path)), "must be a number of at most 64 bits."))
        texts = [value, *(value if isinstance(value, dict) else ())]
        if any(isinstance(text, str) and not _unicode(text) for text in texts):
            problems.append(Problem(dotted(shown(path)), "must be valid Unicode text."))
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            problems.append(Problem(dotted(shown(path)), "must have text as its keys."))
    return problems


def _unicode(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)
