"""Checkpoints during training."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from imcswav.callbacks import Callback
from imcswav.checkpoint import KEPT
from imcswav.distributed import from_main
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from imcswav.trainer import Trainer


class Checkpoint(Callback, name="checkpoint"):
    """Saves every few epochs or minutes, at the end, and on Ctrl-C or SIGTERM.

    Training goes on while a checkpoint is written.
    """

    class Config(Callback.Config):
        every: int = Field(1, ge=1)
        """Epochs between two checkpoints."""
        every_minutes: float | None = Field(None, gt=0)
        """Minutes after the last checkpoint at which another is due, within an epoch too; taken with the next log line
        (``trainer.log_every``), so that a loss that is no number is noticed first. None: only after epochs."""

        def room(self, checkpoint: int) -> int:
            """Those that are kept, and the next one until it is complete."""
            return (KEPT + 1) * checkpoint

    every_rank: ClassVar[bool] = True  # a checkpoint has something of each

    config: Config
    _saved = 0.0

    def start(self, trainer: Trainer) -> None:
        """The time runs from here on."""
        self._saved = time.monotonic()

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """Save when time is up; the scores of the last epoch's network come after the last checkpoint."""
        minutes = self.config.every_minutes
        if minutes is None or "loss" not in values or trainer.ended:
            return
        if from_main(time.monotonic() - self._saved >= 60 * minutes):
            self._save(trainer)

    def end_epoch(self, trainer: Trainer) -> None:
        """Save when due."""
        if trainer.epoch % self.config.every == 0 or trainer.ended:
            self._save(trainer)

    def interrupt(self, trainer: Trainer) -> None:
        """Save at once; the process may end when this returns."""
        trainer.save()
        trainer.checkpoints.wait()

    def _save(self, trainer: Trainer) -> None:
        trainer.save()
        self._saved = time.monotonic()

    def close(self, trainer: Trainer) -> None:
        """Nothing is left half written."""
        trainer.checkpoints.wait()


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Checkpoint]
