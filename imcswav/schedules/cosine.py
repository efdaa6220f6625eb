"""Half a cosine from the end of the warm-up to the end of the training (SGDR, arXiv 1608.03983)."""

from __future__ import annotations

import math

from pydantic import Field

from imcswav.plugins import hookimpl
from imcswav.schedules import Schedule
from imcswav.step import Progress


class Cosine(Schedule, name="cosine"):
    """1 at the warm-up's last step (the first step without a warm-up), ``final`` at the training's last."""

    class Config(Schedule.Config):
        final: float = Field(0.0, ge=0, le=1)
        """Factor of the last step."""

    config: Config

    def shape(self, progress: Progress) -> float:
        """The cosine; 1 during the warm-up."""
        start = max(self.config.warmup(progress.steps_per_epoch) - 1, 0)
        span = max(progress.steps - 1 - start, 1)
        done = min(max(progress.step - start, 0) / span, 1.0)
        return self.config.final + (1 - self.config.final) * (1 + math.cos(math.pi * done)) / 2


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Cosine]
