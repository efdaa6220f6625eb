"""The page about Python: signatures and docstrings of what can be imported."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from typing import Any

from imcswav.reference.markdown import NOTE, doc

PUBLIC = {
    "imcswav.testing": ("check_component",),
    "imcswav.clusterers": ("Known",),
    "imcswav.step": ("Progress", "Output", "Step"),
    "imcswav.errors": ("RecipeError", "PluginError", "DataError", "RunError", "Problem"),
}
"""Names beyond those of ``imcswav`` itself that code of others is meant to import."""


def api_page() -> str:
    """Names of the package, then those for authors of components."""
    import imcswav

    own = [name for name in imcswav.__all__ if name != "__version__"]
    parts = [NOTE, "# Python", doc(imcswav)]
    for module, names in {"imcswav": own, **PUBLIC}.items():
        parts.append(f"## {module}")
        for name in names:
            parts += _entry(name, getattr(importlib.import_module(module), name))
    parts.append("Base classes of components are on the page of their kind, see the [index](README.md).")
    return "\n\n".join(filter(None, parts)) + "\n"


def _entry(name: str, thing: Any) -> list[str]:
    if inspect.isclass(thing):
        call = [] if issubclass(thing, Exception) and "__init__" not in vars(thing) else [f"{name}{signature(thing)}"]
        return [f"### {name}", doc(thing), *map(_fence, call), methods(thing)]
    if inspect.isroutine(thing):
        return [f"### {name}", _fence(f"{name}{signature(thing)}"), doc(thing)]
    return [f"### {name}", "Marks the function by which a module offers its components."]  # the hook's marker


def methods(cls: type, prefix: str = "") -> str:
    """Public methods and properties of the class itself, as a list with signatures."""
    entries = []
    for name, member in vars(cls).items():
        if name.startswith("_") and name not in ("__call__", "__getitem__"):
            continue
        if isinstance(member, property):
            call = ""
        elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
            call = signature(getattr(member, "__func__", member), bound=not isinstance(member, staticmethod))
        else:
            continue
        text = textwrap.indent(doc(member), "  ").strip()
        entries.append(f"- `{prefix}{name}{call}`" + (f": {text}" if text else ""))
    return "\n".join(entries)


def signature(thing: Any, bound: bool = False) -> str:
    """Parameters with annotations as they are written, the same under every version of Python.

    ``bound`` leaves out the first one, self or cls.
    """
    found = inspect.signature(thing)
    words: list[str] = []
    starred = False
    for parameter in list(found.parameters.values())[bound:]:
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            words.append("*")
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        words.append(_parameter(parameter))
    result = "" if found.return_annotation in (found.empty, None, "None") else f" -> {_name(found.return_annotation)}"
    return f"({', '.join(words)}){result}"


def _parameter(parameter: inspect.Parameter) -> str:
    word = str(parameter).split(":")[0].split(" =")[0]  # the name with its stars
    if parameter.annotation is not parameter.empty:
        word += f": {_name(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        default = repr(parameter.default)
        word += f" = {'…' if default.startswith('<') else default}"  # a default made anew each time
    return word


def _name(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _fence(text: str) -> str:
    return f"```text\n{text}\n```"
