"""From pydantic's errors to problems a user can mend: place, rule, what was received, what was meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from imcswav.errors import Problem
from imcswav.plugins import did_you_mean
from imcswav.recipe import Recipe

Path = tuple[str | int, ...]

_WHOLE, _NUMBER, _SWITCH, _TEXT = "a whole number", "a number", "true or false", "text"
_ARRAY, _TABLE = "an array", "a table"

_RULES = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "none_required": "left out",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "path_type": "a path",
} | {
    kind: rule
    for kinds, rule in {
        "int_type int_parsing int_from_float int_parsing_size": _WHOLE,
        "float_type float_parsing": _NUMBER,
        "bool_type bool_parsing": _SWITCH,
        "string_type string_unicode": _TEXT,
        "list_type tuple_type set_type frozen_set_type iterable_type": _ARRAY,
        "dict_type mapping_type model_type model_attributes_type dataclass_type": _TABLE,
    }.items()
    for kind in kinds.split()
}
"""pydantic's error type → what the value must be."""


def shown(path: Path) -> Path:
    """A place in a recipe as it is usually written: the learner's tables stand at the top level."""
    return path[1:] if path[0] == "learner" and len(path) > 1 and path[1] != "name" else path


def problems_of(
    error: ValidationError,
    locate: Callable[[Path], str] = lambda path: "",
    *,
    tables: Any = None,
    rename: Callable[[Path], Path] | None = None,
) -> list[Problem]:
    """One problem for each thing wrong; every ``value`` is a plain number, text or None, so JSON can hold it.

    ``locate`` gives the file and line of a path, ``rename`` the path as the user wrote it. ``tables`` is what
    was validated: with it, the alternatives that pydantic reports one by one for a field of several types
    become one problem.
    """
    if rename is None:
        rename = shown if error.title == "Recipe" else lambda path: path
    grouped: dict[Path, list[Any]] = {}
    for found in error.errors(include_url=False):
        path = found["loc"] if tables is None else written(found, tables)
        grouped.setdefault(path, []).append(found)
    return [
        replace(_problem(path, rename(path), errors), where=locate(_cause(path, errors[0])))
        for path, errors in grouped.items()
    ]


def _cause(path: Path, error: Any) -> Path:
    """What is missing stands nowhere; its table does."""
    return path[:-1] if error["type"] == "missing" else path


def dotted(path: Sequence[str | int]) -> str:
    """``losses.0.temperature``; a key with other signs than letters, digits, - and _ is quoted as in TOML."""
    keys = (str(key) for key in path)
    return ".".join(key if re.fullmatch(r"[\w-]+", key) else '"' + short(key)[1:-1] + '"' for key in keys)


def short(value: Any) -> str:
    """A value as a user would write it, cut to a few words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int():
            return str(value) if abs(value) < 10**40 else "a huge number"
        case float():
            return repr(value)
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "…")
        case Mapping():
            return _TABLE
        case list() | tuple():
            return "an array" if value else "an empty array"
    return f"a {type(value).__name__}"


def plain(value: Any) -> str | int | float | bool | None:
    """The value itself where JSON has it, else a short text."""
    if isinstance(value, int | str | None) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    return short(value)


def written(error: Any, tables: Any) -> Path:
    """The place of an error without the names of alternatives ("int"), which stand in no file."""
    path: list[str | int] = []
    loc, kind, at = error["loc"], error["type"], tables
    for place, key in enumerate(loc):
        last = place == len(loc) - 1
        if isinstance(at, Mapping) and (key in at or (last and kind in ("missing", "part"))):
            at = at.get(key)
        elif isinstance(at, list | tuple) and isinstance(key, int) and key < len(at):
            at = at[key]
        elif not (isinstance(at, str) and last and kind in ("missing", "part")):  # a bare name lacks settings
            continue
        path.append(key)
    return tuple(path)


def _problem(path: Path, name: Path, errors: list[Any]) -> Problem:
    first, value = errors[0], errors[0]["input"]
    kind = first["type"]
    rules = list(dict.fromkeys(filter(None, map(_rule, errors))))
    remedy = ""
    if kind == "missing":
        message, value = _missing(errors)
    elif kind == "unknown_key":
        table, known = first["ctx"]["table"], first["ctx"]["known"]
        if name != path and len(path) == 2:  # the learner got what the recipe doesn't know
            table, known = f"the recipe or of {table}", [*Recipe.model_fields, *known]
        message = f"is no setting of {table}."
        remedy = did_you_mean(str(path[-1]), known)
    elif rules:
        message = f"must be {' or '.join(rules)}, not {short(value)}."
        remedy = _meant(value, rules)
    else:
        message = _sentence(first)
    return Problem(dotted(name), message, remedy, plain(value))


def _missing(errors: list[Any]) -> tuple[str, Any]:
    """What is said of a setting that isn't there, or of an array of a fixed length that is too short; and the value."""
    last = errors[-1]["loc"][-1]
    if not isinstance(last, int):
        return "is missing.", None
    given = errors[0]["input"]
    return f"must be an array of {last + 1} entries, not {len(given)}.", given


def _rule(error: Any) -> str | None:
    template, context = _RULES.get(error["type"]), error.get("ctx", {})
    if template is not None:
        return template.format_map({key: _bound(value) for key, value in context.items()})
    if error["type"] in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if "min_length" in context else f"at most {context['max_length']}"
        return f"{context['field_type'].lower()} of {bound} entries"
    return None


def _bound(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _meant(value: Any, rules: list[str]) -> str:
    choices = [choice for rule in rules for choice in re.findall(r"'([^']*)'", rule)]
    guess = did_you_mean(value, choices) if isinstance(value, str) and choices else ""
    return guess if guess.startswith("Did") else ""


def _sentence(error: Any) -> str:
    """The text of an error of our own or of a validator: one sentence."""
    text = str(error.get("ctx", {}).get("error", "")) or error["msg"]
    text = text.strip().removeprefix("Value error, ") or "is not valid"
    return text if text.endswith((".", "?", "!")) else text + "."
