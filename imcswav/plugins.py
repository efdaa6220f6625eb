"""The registry and its one hook. Imports no torch until components are asked for.

Built-in components and third-party ones arrive the same way: a module with
``@hookimpl def imcswav_components(): return [MyClass]``. Built-ins are found by listing the kind folders,
third parties by the entry-point group ``imcswav``.
"""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

import pluggy

from imcswav.component import FOLDERS, KINDS, Component
from imcswav.errors import PluginError

hookspec = pluggy.HookspecMarker("imcswav")
hookimpl = pluggy.HookimplMarker("imcswav")


class Hooks:
    """The hook specifications; there is one."""

    @hookspec
    def imcswav_components(self) -> list[type[Component]]:  # type: ignore[empty-body]
        """Return the component classes this module offers."""


@dataclass
class Registry:
    """Component classes by kind and name, each with the package it came from."""

    classes: dict[tuple[str, str], type[Component]] = field(default_factory=dict)
    origins: dict[tuple[str, str], str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    """One sentence for each plugin that could not be loaded."""

    def add(self, cls: type[Component], origin: str) -> None:
        """Register one class.

        Raises PluginError when it is no named Component or when its kind and name are taken.
        """
        if not (isinstance(cls, type) and issubclass(cls, Component) and cls.kind and cls.name):
            raise PluginError(f"{origin} offers {cls!r}, which is no Component class with a kind and a name.")
        key = (cls.kind, cls.name)
        if key in self.classes and self.classes[key] is not cls:
            raise PluginError(
                f"Two packages offer the {cls.kind} '{cls.name}': {self.origins[key]} and {origin}; "
                f"rename one, or set the environment variable IMCSWAV_PLUGINS to the packages to load (empty: none)."
            )
        self.classes[key], self.origins[key] = cls, origin

    def get(self, kind: str, name: str) -> type[Component]:
        """The class called ``name``; raises PluginError with the closest names when there is none."""
        try:
            return self.classes[kind, name]
        except KeyError:
            raise PluginError(f"There is no {kind} '{name}'. {self.suggest(kind, name)}") from None

    def names(self, kind: str) -> list[str]:
        """All names of a kind, sorted."""
        return sorted(name for known, name in self.classes if known == kind)

    def suggest(self, kind: str, name: str) -> str:
        """A "did you mean" sentence, or the list of what exists; then what could not be loaded."""
        return " ".join([did_you_mean(name, self.names(kind)), *self.broken])

    def __iter__(self) -> Iterator[type[Component]]:
        return (self.classes[key] for key in sorted(self.classes))


def did_you_mean(name: str, known: list[str]) -> str:
    """ "Did you mean 'x'?" for the closest of ``known``, else the whole list."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known) or 'none'}."


@cache
def registry() -> Registry:
    """The registry of this process: built-ins, then the entry points that IMCSWAV_PLUGINS allows."""
    found = Registry()
    manager = pluggy.PluginManager("imcswav")
    manager.add_hookspecs(Hooks)
    for module in _builtin_modules():
        for cls in _offered(manager, module, "imcswav"):
            found.add(cls, "imcswav")
    for entry in _allowed(list(entry_points(group="imcswav")), found.broken):
        origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        try:
            offered = _offered(manager, entry.load(), origin)
        except (Exception, SystemExit) as error:  # a stranger's module must not stop the other commands
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            found.broken.append(f"Plugin {origin} can't be loaded: {reason.rstrip('.')}.")
            continue
        for cls in offered:
            found.add(cls, origin)  # a clash raises: silently preferring one of two would change results
    return found


def _offered(manager: pluggy.PluginManager, module: ModuleType, origin: str) -> Registry:
    scratch = Registry()
    manager.register(module)
    try:
        manager.check_pending()  # catches a misspelt hook
        hook = getattr(module, "imcswav_components", None)
        if hook is None:
            raise PluginError(f"{module.__name__} has no hook imcswav_components.")
        for cls in hook():
            scratch.add(cls, origin)
    except Exception:
        manager.unregister(module)
        raise
    return scratch


def _builtin_modules() -> Iterator[ModuleType]:
    for kind in KINDS:
        package = importlib.import_module(f"imcswav.{FOLDERS[kind]}")
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{info.name}")
            if hasattr(module, "imcswav_components"):
                yield module


def _allowed(entries: list[EntryPoint], broken: list[str]) -> list[EntryPoint]:
    """IMCSWAV_PLUGINS: unset = all, empty = none, else entry-point or package names with commas.

    A name that nothing installed answers to is added to ``broken``.
    """
    entries = sorted(entries, key=lambda entry: entry.name)
    wanted = os.environ.get("IMCSWAV_PLUGINS")
    if wanted is None:
        return entries
    names = {name.strip() for name in wanted.split(",")} - {""}
    known = {entry: {entry.name, *([entry.dist.name] if entry.dist else [])} for entry in entries}
    absent = sorted(names.difference(*known.values()))
    broken += [f"Plugin {name}, named in IMCSWAV_PLUGINS, is not installed." for name in absent]
    return [entry for entry in entries if known[entry] & names]
