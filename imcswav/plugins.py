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
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Literal

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


LONGEST_REASON = 300
"""Characters of what a broken package says that are told."""
State = Literal["loaded", "broken", "clashing", "disabled", "not installed"]


@dataclass
class Plugin:
    """An entry point of another package and what became of it; ``reason`` says why it isn't loaded."""

    name: str
    """Of the entry point."""
    module: str = ""
    package: str = ""
    version: str = ""
    state: State = "loaded"
    reason: str = ""
    classes: list[type[Component]] = field(default_factory=list)
    """What it offers, where it is loaded."""

    @property
    def origin(self) -> str:
        """Package and version, or the module where no package is known."""
        return f"{self.package} {self.version}" if self.package else self.module or self.name

    @property
    def problem(self) -> str:
        """A sentence on why it can't be used though it is wanted; empty when nothing is wrong."""
        if self.state == "not installed":
            return f"Plugin {self.name}, named in IMCSWAV_PLUGINS, is not installed."
        return f"Plugin {self.origin} can't be loaded: {self.reason}." if self.state == "broken" else ""


@dataclass
class Registry:
    """Component classes by kind and name, each with the package it came from."""

    classes: dict[tuple[str, str], type[Component]] = field(default_factory=dict)
    origins: dict[tuple[str, str], str] = field(default_factory=dict)
    plugins: list[Plugin] = field(default_factory=list)
    """Every other package that offers components, loaded or not."""

    @property
    def broken(self) -> list[str]:
        """One sentence for each plugin that could not be loaded."""
        return [plugin.problem for plugin in self.plugins if plugin.problem]

    def add(self, cls: type[Component], origin: str) -> None:
        """Register one class.

        Raises PluginError when it is no named Component or when its kind and name are taken.
        """
        if not (isinstance(cls, type) and issubclass(cls, Component) and cls.kind and cls.name):
            raise PluginError(f'{origin} offers {cls!r}, which is no component: write class Mine(Loss, name="mine").')
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
        left_out = [plugin.reason for plugin in self.plugins if plugin.state == "disabled"]
        return " ".join([did_you_mean(name, self.names(kind)), *self.broken, *left_out])

    def __iter__(self) -> Iterator[type[Component]]:
        return (self.classes[key] for key in sorted(self.classes))


def did_you_mean(name: str, known: list[str]) -> str:
    """ "Did you mean 'x'?" for the closest of ``known``, else the whole list."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known) or 'none'}."


@cache
def registry() -> Registry:
    """The registry of this process: built-ins, then the entry points that IMCSWAV_PLUGINS allows.

    Raises PluginError when two packages offer one name: silently preferring one of them would change results.
    """
    found = discover()
    for plugin in found.plugins:
        if plugin.state == "clashing":
            raise PluginError(plugin.reason)
    return found


def discover() -> Registry:
    """What ``registry`` holds, also when packages clash: of a name that is taken the first owner keeps it."""
    found = Registry()
    manager = pluggy.PluginManager("imcswav")
    manager.add_hookspecs(Hooks)
    for module in _builtin_modules():
        for cls in _offered(manager, module, "imcswav"):
            found.add(cls, "imcswav")
    entries = sorted(entry_points(group="imcswav"), key=lambda entry: entry.name)
    wanted = _wanted()
    for entry in entries:
        plugin = _described(entry)
        found.plugins.append(plugin)
        if wanted is None or wanted.keys() & {_normalised(plugin.name), _normalised(plugin.package)}:
            _load(plugin, entry, found, manager)
        else:
            plugin.state, plugin.reason = "disabled", f"IMCSWAV_PLUGINS leaves {plugin.origin} out."
    known = {_normalised(name) for plugin in found.plugins for name in (plugin.name, plugin.package)}
    missing = {name for key, name in (wanted or {}).items() if key not in known}
    found.plugins += [Plugin(name, state="not installed") for name in sorted(missing)]
    return found


def _load(plugin: Plugin, entry: EntryPoint, found: Registry, manager: pluggy.PluginManager) -> None:
    try:
        plugin.classes = list(_offered(manager, entry.load(), plugin.origin))
    except (Exception, SystemExit) as error:  # a stranger's module must not stop the other commands
        plugin.state = "broken"
        told = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
        plugin.reason = told if len(told) <= LONGEST_REASON else f"{told[:LONGEST_REASON]} …"
        return
    try:
        for cls in plugin.classes:
            found.add(cls, plugin.origin)
    except PluginError as clash:
        plugin.state, plugin.reason = "clashing", str(clash)


def _described(entry: EntryPoint) -> Plugin:
    package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
    return Plugin(entry.name, entry.value.partition(":")[0].strip(), package, version)


def _wanted() -> dict[str, str] | None:
    """IMCSWAV_PLUGINS: unset (None) = all, empty = none, else entry-point or package names with commas.

    By their one spelling, as they are written there.
    """
    named = os.environ.get("IMCSWAV_PLUGINS")
    return None if named is None else {_normalised(name): name.strip() for name in named.split(",") if name.strip()}


def _normalised(name: str) -> str:
    """One spelling of a package's name (PEP 503), in which ``My_Plug`` and ``my-plug`` are one."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _offered(manager: pluggy.PluginManager, module: ModuleType, origin: str) -> Registry:
    scratch = Registry()
    known = manager.is_registered(module)  # two entry points may name one module
    if not known:
        manager.register(module)
    try:
        manager.check_pending()  # catches a misspelt hook
        hook = getattr(module, "imcswav_components", None)
        if hook is None:
            raise PluginError(f"{module.__name__} has no hook imcswav_components.")
        offered = hook()
        if not isinstance(offered, list | tuple):
            raise PluginError(f"imcswav_components of {module.__name__} has to return a list of classes.")
        for cls in offered:
            scratch.add(cls, origin)
    except Exception:
        if not known:
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
