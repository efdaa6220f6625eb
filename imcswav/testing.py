"""The contract of components as a test that anyone can run on their own.

    from imcswav.testing import check_component

    def test_my_loss():
        check_component(MyLoss)

What every component must keep is here; what a loss, a solver … must do is in ``contract/``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from imcswav import plugins
from imcswav.component import KINDS, Component
from imcswav.contract import CHECKS
from imcswav.contract.rules import RuleError, require
from imcswav.heads import ReadsHead
from imcswav.part import Part, dump_part
from imcswav.recipe.errors import problems_of


def check_component(cls: type[Component], settings: Mapping[str, Any] | None = None, **runtime: Any) -> None:
    """Raise AssertionError, naming the component and the rule, unless ``cls`` keeps the contract.

    ``settings`` are given where a required setting has no obvious least value. ``runtime`` replaces the
    values a component of this kind is built from and tried on (``clusters``, ``channels``, ``step`` for a
    loss …).
    """
    label = f"{getattr(cls, 'kind', '') or 'component'} '{getattr(cls, 'name', '') or cls.__name__}'"
    with _rule(label, "is a Component with a kind and a name"):
        _identity(cls)
    with _rule(label, "has a docstring"):
        require(bool((cls.__dict__.get("__doc__") or "").strip()))
    with _rule(label, "its Config is its own, frozen, refuses unknown keys and extends its kind's"):
        _config(cls)
    with _rule(label, "every setting has a description"):
        bare = [name for name, setting in cls.Config.model_fields.items() if not setting.description]
        require(not bare, f"a line below it in the class: {', '.join(bare)}")
    with _rule(label, "its defaults are valid"):
        config = _configured(cls, settings)
    with _rule(label, "its settings survive being written to TOML and read again"):
        _round_trip(cls, config)
    for text, check in CHECKS[cls.kind].items():
        with _rule(label, text):
            check(config, runtime)


@contextmanager
def _rule(label: str, text: str) -> Iterator[None]:
    try:
        yield
    except RuleError as broken:
        raise AssertionError(f"{label} breaks the rule: {text}" + (f" ({broken})" if str(broken) else "")) from None
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{label} breaks the rule: {text} ({reason})") from error


def _identity(cls: type[Component]) -> None:
    require(isinstance(cls, type) and issubclass(cls, Component))
    require(cls.kind in KINDS, f"its kind is '{cls.kind}'; subclass one of the kinds' bases")
    require(bool(re.fullmatch(r"[a-z][a-z0-9_]*", cls.name)), f"'{cls.name}' should be lower_case")
    registered = plugins.registry().classes.get((cls.kind, cls.name), cls)
    require(registered is cls, f"the name belongs to {registered.__qualname__}")


def _config(cls: type[Component]) -> None:
    base: Any = next(parent for parent in reversed(cls.__mro__) if getattr(parent, "kind", "") == cls.kind)
    rules = cls.Config.model_config
    require(issubclass(cls.Config, base.Config), f"class Config({base.__name__}.Config)")
    require(cls.Config.owner is cls, f"it belongs to {cls.Config.owner.__qualname__}")
    require(rules.get("frozen") is True, "frozen=False")
    require(rules.get("extra") == "forbid", f"extra={rules.get('extra')!r}")


def _configured(cls: type[Component], settings: Mapping[str, Any] | None) -> Any:
    try:
        return cls.Config(**(minimal_settings(cls.Config) | dict(settings or {})))
    except ValidationError as error:
        problems = "; ".join(map(str, problems_of(error)))
        required = [name for name, setting in cls.Config.model_fields.items() if setting.is_required()]
        hint = f"; pass settings= with {', '.join(required)}" if required else ""
        raise RuleError(f"{problems}{hint}") from None


def _round_trip(cls: type[Component], config: Any) -> None:
    table = tomllib.loads(tomli_w.dumps(dump_part(config)))
    if (cls.kind, cls.name) in plugins.registry().classes:
        again: Any = Part(cls.kind).validate(table)
    else:
        require(table.pop("name") == cls.name)
        again = cls.Config.model_validate(table)
    require(again == config, f"{again!r} is not {config!r}")


def minimal_settings(model: type[BaseModel]) -> dict[str, Any]:
    """The least value of every required setting that has an obvious one."""
    found: dict[str, Any] = {}
    for name, setting in model.model_fields.items():
        if setting.is_required():
            value = _least(setting.annotation, setting.metadata)
            found |= {} if value is None else {name: value}
    return found


def _least(annotation: Any, marks: list[Any]) -> Any:
    """A least value of a type; None when nothing is obvious."""
    while getattr(annotation, "__metadata__", None):
        marks = [*marks, *annotation.__metadata__]
        annotation = annotation.__origin__
    marks = [inner for mark in marks for inner in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
    bounds = {name: getattr(mark, name) for mark in marks for name in _BOUNDS if getattr(mark, name, None) is not None}
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    part = next((mark for mark in marks if isinstance(mark, Part)), None)
    if part is not None:
        known = plugins.registry()
        names = known.names(part.kind)
        return {"name": names[0], **minimal_settings(known.get(part.kind, names[0]).Config)} if names else None
    if origin is Literal:
        return arguments[0]
    if origin in (int, float, bool, str):
        return _least_scalar(origin, bounds, marks)
    if origin is tuple and Ellipsis not in arguments:
        return [_least(argument, []) for argument in arguments]
    if origin in (list, tuple, dict):
        entry = _least(arguments[-1 if origin is dict else 0], [])
        count = bounds.get("min_length", 0)
        return {f"x{i}": entry for i in range(count)} if origin is dict else [entry] * count
    if isinstance(origin, type) and issubclass(origin, BaseModel):
        return minimal_settings(origin)
    values = (_least(argument, []) for argument in arguments if argument is not type(None))
    return next((value for value in values if value is not None), None)


_BOUNDS = ("ge", "gt", "le", "lt", "min_length")


def _least_scalar(kind: type, bounds: dict[str, Any], marks: list[Any]) -> Any:
    if kind is bool:
        return False
    if kind is str:
        return "classifier" if any(isinstance(mark, ReadsHead) for mark in marks) else "x" * bounds.get("min_length", 1)
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if kind is int:
        least = bounds["gt"] + 1 if "gt" in bounds else bounds.get("ge", 1)
        return max(least, 1) if high is None or high > 1 else least
    if low is not None and high is not None:
        return (low + high) / 2
    return low + 0.1 if low is not None else high - 0.1 if high is not None else 0.1
