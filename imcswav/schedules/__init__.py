"""Schedules: a factor on the learning rate as a function of how far training is. Stateless."""

from __future__ import annotations

from pydantic import Field, model_validator

from imcswav.component import Component
from imcswav.step import Progress


class Schedule(Component, kind="schedule"):
    """Linear warm-up, then ``shape``. Step t = 1 … n of a warm-up of n steps has factor t / n."""

    class Config(Component.Config):
        warmup_steps: int = Field(0, ge=0)
        """Steps of linear warm-up."""
        warmup_epochs: float = Field(0, ge=0)
        """Epochs of linear warm-up; give this or ``warmup_steps``, not both."""

        @model_validator(mode="after")
        def _one_warmup(self) -> Schedule.Config:
            if self.warmup_steps and self.warmup_epochs:
                raise ValueError("give warmup_steps or warmup_epochs, not both")
            return self

        def warmup(self, steps_per_epoch: int) -> int:
            """Length of the warm-up in steps."""
            return self.warmup_steps or round(self.warmup_epochs * steps_per_epoch)

    config: Config

    def factor(self, progress: Progress) -> float:
        """The factor for optimiser step ``progress.step`` (from 0)."""
        warmup = self.config.warmup(progress.steps_per_epoch)
        ramp = min(1.0, (progress.step + 1) / warmup) if warmup else 1.0
        return ramp * self.shape(progress)

    def shape(self, progress: Progress) -> float:
        """The factor without the warm-up."""
        raise NotImplementedError
