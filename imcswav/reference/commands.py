"""The page about the command line, from the functions that typer makes commands of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from imcswav.cli.options import Group
from imcswav.recipe.described import type_text
from imcswav.reference.markdown import NOTE, code, doc, prose, table

_VALUES = {"str": "TEXT", "int": "NUMBER", "float": "NUMBER", "Path": "PATH"}


@dataclass(frozen=True)
class Parameter:
    """An argument or an option of a command."""

    spelling: str
    option: bool
    required: bool
    default: Any
    help: str


def commands_page() -> str:
    """Every command: help text, arguments, options."""
    from imcswav import cli

    parts = [NOTE, "# Commands", doc(cli._options), _table(cli._options)]
    for name, command in cli.COMMANDS.items():
        if not isinstance(command, Group):
            parts += _section(name, usage(name, command), command)
            continue
        start = usage(name, command.first)
        parts += _section(name, f"{start} COMMAND", command.first)
        for inner, one in command.commands.items():
            parts += _section(f"{name} {inner}", usage(inner, one, start), one, level="###")
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(title: str, line: str, command: Callable[..., None], level: str = "##") -> list[str]:
    return [f"{level} imcswav {title}", f"```text\n{line}\n```", doc(command), _table(command)]


def usage(name: str, command: Callable[..., None], start: str = "imcswav") -> str:
    """The line that shows how to call it, behind ``start``."""
    known = list(parameters(command))
    arguments = [one.spelling if one.required else f"[{one.spelling}]" for one in known if not one.option]
    options = ["[OPTIONS]"] if any(one.option for one in known) else []
    return " ".join([start, name, *arguments, *options])


def parameters(command: Callable[..., None]) -> Iterator[Parameter]:
    """Arguments, then options, in the order of the function. Typer's own objects differ between its versions."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command).parameters
    told = [name for name in signature if get_args(hints[name])]  # not typer's context, which no user gives
    found = [_parameter(name, hints[name], signature[name].default) for name in told]
    yield from sorted(found, key=lambda one: one.option)  # a stable sort


def _parameter(name: str, annotation: Any, default: Any) -> Parameter:
    inner, info = get_args(annotation)
    required = default is inspect.Parameter.empty
    text = type_text(inner)
    if type(info).__name__ == "ArgumentInfo":
        spelling = (info.metavar or name.upper()) + ("..." if text.startswith("list") else "")
        return Parameter(spelling, False, required, default, info.help or "")
    # within Annotated typer takes the first spelling for its default
    names = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str)]
    value = "" if text == "bool" else f" {info.metavar or _VALUES.get(text, 'TEXT')}"
    plain = f"--{name.replace('_', '-')}"
    return Parameter(", ".join(names or [plain]) + value, True, required, default, info.help or "")


def _table(command: Callable[..., None]) -> str:
    rows = [(code(one.spelling), _default(one), prose(one.help)) for one in parameters(command)]
    return table(("argument or option", "default", "meaning"), rows)


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "required"
    return "" if parameter.default in (None, False, []) else code(str(parameter.default))
