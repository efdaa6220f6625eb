"""Schedules: a factor on the learning rate as a function of how far training is. Stateless."""

from __future__ import annotations

from pydantic import Field, model_validator

from imcswav.component import Component
from imcswav.step import Progress


class Schedule(Component, kind="schedule"):
    """Linear warm-up, then ``shape``: over n steps the factor rises from ``warmup_start``, or 1 / n, to 1."""

    class Config(Component.Config):
        warmup_steps: int = Field(0, ge=0)
        """Steps of linear warm-up."""
        warmup_epochs: float = Field(0, ge=0)
        """Epochs of linear warm-up; give this or ``warmup_steps``, not both."""

        warmup_start: float | None = Field(None, ge=0, le=1)
        """Factor of the warm-up's first step; unset: 1 / n of n steps."""

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
        return self._ramp(progress.step, self.config.warmup(progress.steps_per_epoch)) * self.shape(progress)

    def _ramp(self, step: int, warmup: int) -> float:
        if step + 1 >= warmup:
            return 1.0
        if self.config.warmup_start is None:
            return (step + 1) / warmup
        return self.config.warmup_start + (1 - self.config.warmup_start) * step / (warmup - 1)

    def shape(self, progress: Progress) -> float:
        """The factor without the warm-up."""
        raise NotImplementedError
