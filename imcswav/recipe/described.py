"""Settings as a reader sees them: type, default, range, meaning. Used by `imcswav show` and the reference pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from imcswav.component import Component, Settings
from imcswav.part import Part, without_none
from imcswav.recipe import EvaluationSettings, Expected, InitSettings, PredictSettings, Recipe, TrainerSettings

TABLES: dict[str, type[Settings]] = {
    "recipe": Recipe, "trainer": TrainerSettings, "predict": PredictSettings, "evaluation": EvaluationSettings,
    "init": InitSettings, "expected": Expected,
}  # fmt: skip
"""Tables of a recipe that no component owns."""


@dataclass(frozen=True)
class Setting:
    """One row of a table of settings; every field is text."""

    name: str
    type: str
    default: str
    limits: str
    meaning: str


def settings_of(table: type[Settings]) -> Iterator[Setting]:
    """The settings of a table in the order of its class."""
    for name, field in table.model_fields.items():
        limits = ", ".join(dict.fromkeys(_limits(field.annotation, field.metadata)))
        meaning = " ".join((field.description or "").split())
        yield Setting(name, type_text(field.annotation, field.metadata), _default(field), limits, meaning)


def tables_within(table: type[Settings]) -> dict[str, type[Settings]]:
    """Tables that settings of this one consist of, by "setting: each Table"; those with a page of their own are not."""
    found = {}
    for name, field in table.model_fields.items():
        for inner in _tables(field.annotation):
            if inner not in TABLES.values():
                found[f"{name}: each {inner.__name__}"] = inner
    return found


def value_text(value: Any) -> str:
    """A value as TOML writes it; a component is its name."""
    return json.dumps(_plain(value), ensure_ascii=False)


def type_text(annotation: Any, marks: Iterable[Any] = ()) -> str:
    """A type as a reader would write it: a part is shown as its kind, ranges and modules are left out."""
    for mark in marks:
        if isinstance(mark, Part):
            return mark.kind
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(inner[0], inner[1:])
    if origin is Literal:
        return " | ".join(map(value_text, inner))
    if origin in (Union, UnionType):
        return " | ".join(type_text(one) for one in inner if one is not type(None))
    if origin is not None:
        return f"{origin.__name__}[{', '.join('…' if one is Ellipsis else type_text(one) for one in inner)}]"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(value_text(choice) for choice in annotation)
    return getattr(annotation, "__name__", str(annotation))


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, BaseModel) and not isinstance(default, Component.Config):
        return "its defaults"
    return "unset" if default is None else value_text(default)


def _plain(value: Any) -> Any:
    match value:
        case Component.Config():
            return value.owner.name
        case BaseModel():
            return without_none(value.model_dump(mode="json"))
        case Enum():
            return value.value
        case Path():
            return value.as_posix()
        case {"name": name} if len(value) == 1:  # a part of which only the name is given
            return name
        case dict():
            return {key: _plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_plain(entry) for entry in value]
    return value


def _limits(annotation: Any, marks: Iterable[Any] = ()) -> Iterator[str]:
    """Ranges of a setting and, with "each", of the entries of an array."""
    for mark in marks:
        inner = mark.metadata if isinstance(mark, FieldInfo) else [mark]
        for one in inner:
            yield from (
                f"{sign} {bound}" for name, sign in _SIGNS.items() if (bound := getattr(one, name, None)) is not None
            )
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _limits(arguments[0], arguments[1:])
    elif origin in (Union, UnionType):
        for inner in arguments:
            yield from _limits(inner)
    elif origin in (list, tuple):
        yield from dict.fromkeys(f"each {limit}" for inner in arguments for limit in _limits(inner))


_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "min_length": "length ≥", "max_length": "length ≤"}


def _tables(annotation: Any) -> list[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [] if issubclass(annotation, Component.Config) else [annotation]
    return [table for inner in get_args(annotation) for table in _tables(inner)]
