"""Nested tables as one level of dotted paths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Dotted path → value; entries of a list of tables go by number, a list of plain values is a value."""
    entries: Iterable[tuple[Any, Any]]
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        entries = enumerate(value)
    else:
        return {path: value}
    return {
        key: plain
        for name, entry in entries
        for key, plain in flat(entry, f"{path}.{name}" if path else str(name)).items()
    }
