"""Checkpoints during training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from imcswav.callbacks import Callback
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from imcswav.trainer import Trainer


class Checkpoint(Callback, name="checkpoint"):
    """Saves every few epochs, at the end, and on Ctrl-C. Training goes on while a checkpoint is written."""

    class Config(Callback.Config):
        every: int = Field(1, ge=1)
        """Epochs between two checkpoints."""

    config: Config

    def end_epoch(self, trainer: Trainer) -> None:
        """Save when due."""
        if trainer.epoch % self.config.every == 0 or trainer.ended:
            trainer.save()

    def interrupt(self, trainer: Trainer) -> None:
        """Save at once; the process may end when this returns."""
        trainer.save()
        trainer.checkpoints.wait()

    def close(self, trainer: Trainer) -> None:
        """Nothing is left half written."""
        trainer.checkpoints.wait()


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Checkpoint]
