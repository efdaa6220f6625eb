"""The same learning rate to the end, after the warm-up."""

from __future__ import annotations

from imcswav.plugins import hookimpl
from imcswav.schedules import Schedule
from imcswav.step import Progress


class Constant(Schedule, name="constant"):
    """Factor 1."""

    def shape(self, progress: Progress) -> float:
        """1."""
        return 1.0


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Constant]
