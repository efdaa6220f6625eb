"""The page about the command line, from the functions that typer makes commands of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

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
        parts += [f"## imcswav {name}", f"```text\n{usage(name, command)}\n```", doc(command), _table(command)]
    return "\n\n".join(filter(None, parts)) + "\n"


def usage(name: str, command: Callable[..., None]) -> str:
    """The line that shows how to call it."""
    known = list(parameters(command))
    arguments = [one.spelling if one.required else f"[{one.spelling}]" for one in known if not one.option]
    options = ["[OPTIONS]"] if any(one.option for one in known) else []
    return " ".join(["imcswav", name, *arguments, *options])


def parameters(command: Callable[..., None]) -> Iterator[Parameter]:
    """Arguments, then options, in the order of the function. Typer's own objects differ between its versions."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command).parameters
    found = [_parameter(name, hints[name], signature[name].default) for name in signature]
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
