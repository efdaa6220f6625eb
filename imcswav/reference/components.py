"""Pages about recipes: one for each kind of component, one for the tables that no component owns."""

from __future__ import annotations

import importlib
import inspect
import sys

from imcswav.component import FOLDERS, Component
from imcswav.plugins import Registry
from imcswav.recipe.described import TABLES
from imcswav.reference.api import methods
from imcswav.reference.markdown import NOTE, code, doc, settings_table, table


def kind_page(kind: str, known: Registry) -> str:
    """Every component of a kind, then what one of your own implements."""
    base = base_of(kind)
    classes = [known.get(kind, name) for name in known.names(kind)]
    parts = [NOTE, f"# {kind.capitalize()}", doc(sys.modules[base.__module__])]
    parts.append(table(("name", "what"), [(f"[`{cls.name}`](#{cls.name})", _first_line(cls)) for cls in classes]))
    for cls in classes:
        settings = settings_table(cls.Config) or "It has no settings."
        parts += [f"## {cls.name}", doc(sys.modules[cls.__module__]), doc(cls), settings]
    parts += ["## Your own", f"Subclass `{base.__module__}.{base.__name__}`.", doc(base)]
    if own := settings_table(base.Config):
        parts += ["Settings that each has:", own]
    parts += [methods(base), methods(base.Config, prefix="Config.")]
    return "\n\n".join(filter(None, parts)) + "\n"


def recipe_page() -> str:
    """The tables that no component owns."""
    import imcswav.recipe

    parts = [NOTE, "# Recipe", doc(imcswav.recipe).replace(" Imports no torch.", "")]
    for name, settings in TABLES.items():
        title = "At the top level" if name == "recipe" else f"\\[{name}\\]"
        parts += [f"## {title}", doc(settings), settings_table(settings)]
    return "\n\n".join(parts) + "\n"


def base_of(kind: str) -> type[Component]:
    """The class that all components of a kind extend."""
    module = importlib.import_module(f"imcswav.{FOLDERS[kind]}")
    classes = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
    return next(cls for cls in classes if issubclass(cls, Component) and cls.kind == kind)


def _first_line(cls: type) -> str:
    return doc(cls).split("\n")[0] or code(inspect.getfile(cls))
