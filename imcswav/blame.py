"""Whose error it is: a plugin's code that raises is named as such, so that its author hears of it and not imcswav's."""

from __future__ import annotations

from collections.abc import Iterator
from traceback import walk_tb
from types import FrameType, TracebackType

from imcswav.component import Component
from imcswav.plugins import Plugin, registry


def culprit(error: BaseException) -> str:
    """ "The loss 'x' of package y 0.1" whose code ran when the error was raised; empty when no plugin's did."""
    if not registry.cache_info().currsize:  # nothing was loaded yet, so none can have run
        return ""
    plugins = [plugin for plugin in registry().plugins if plugin.state == "loaded"]
    for frame in reversed(list(_frames(error.__traceback__))):
        module = frame.f_globals.get("__name__", "")
        plugin = max(plugins, key=lambda one: _kinship(one, module), default=None)
        if plugin is not None and _kinship(plugin, module):
            return _named(plugin, frame, module)
    return ""


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    return (frame for frame, _ in walk_tb(traceback))


def _kinship(plugin: Plugin, module: str) -> int:
    """How many leading names a module shares with the plugin's; several packages may share the first."""
    own = {plugin.module, *(cls.__module__ for cls in plugin.classes)}
    strange = [name.split(".") for name in own if name.split(".")[0] != "imcswav"]
    return max((_shared(name, module.split(".")) for name in strange), default=0)


def _shared(one: list[str], other: list[str]) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length


def _named(plugin: Plugin, frame: FrameType, module: str) -> str:
    """The component whose method the frame is, or the only one of its module; else the package alone."""
    subject = frame.f_locals.get("self", frame.f_locals.get("cls"))
    kin = subject if isinstance(subject, type) else type(subject)
    kin = getattr(kin, "owner", kin)  # a Config's
    if not (isinstance(kin, type) and issubclass(kin, Component) and kin in plugin.classes):
        inside = [cls for cls in plugin.classes if cls.__module__ == module]
        if len(inside) != 1:
            return f"The package {plugin.origin}"
        kin = inside[0]
    return f"The {kin.kind} '{kin.name}' of package {plugin.origin}"
