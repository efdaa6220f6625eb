"""Drops at set places of the training."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, field_validator

from imcswav.plugins import hookimpl
from imcswav.schedules import Schedule
from imcswav.step import Progress


class MultiStep(Schedule, name="multistep"):
    """Multiply by ``gamma`` at each milestone.

    Milestones are shares of the whole training, so they move with ``trainer.epochs``: 0.3 of 500 epochs is
    reached when 150 are done. The first step after that (rounded to a step) is the first with the lower rate.
    """

    class Config(Schedule.Config):
        milestones: list[Annotated[float, Field(gt=0, lt=1)]] = [0.3, 0.6, 0.8]
        """Ascending shares of the training, between 0 and 1."""
        gamma: float = Field(0.4, gt=0, le=1)
        """Factor at each milestone."""

        @field_validator("milestones")
        @classmethod
        def _ascending(cls, milestones: list[float]) -> list[float]:
            if any(later <= earlier for earlier, later in pairwise(milestones)):
                raise ValueError("milestones should ascend")
            return milestones

    config: Config

    def shape(self, progress: Progress) -> float:
        """gamma to the number of milestones passed."""
        passed = sum(progress.step >= max(1, round(share * progress.steps)) for share in self.config.milestones)
        return float(self.config.gamma**passed)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [MultiStep]
