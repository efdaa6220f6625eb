"""A learning rate that falls with the square root of the time that is left."""

from __future__ import annotations

from pydantic import Field

from imcswav.plugins import hookimpl
from imcswav.schedules import Schedule
from imcswav.step import Progress


class Mine(Schedule, name="mine"):
    """After the warm-up √(1 − t / T) of the learning rate at step t of T, but at least ``least``."""

    class Config(Schedule.Config):
        least: float = Field(0.0, ge=0, le=1)
        """The smallest factor."""

    config: Config

    def shape(self, progress: Progress) -> float:
        """The factor without the warm-up."""
        left: float = max(0.0, 1 - progress.step / progress.steps) ** 0.5
        return max(self.config.least, left)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
