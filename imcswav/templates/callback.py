"""Record how large the weights grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field

from imcswav.callbacks import Callback
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from imcswav.trainer import Trainer


class Mine(Callback, name="mine"):
    """Appends the epoch and the norm of all weights to ``mine.csv`` in the run folder."""

    class Config(Callback.Config):
        every: int = Field(10, ge=1)
        """Epochs between two rows."""

    config: Config

    def end_epoch(self, trainer: Trainer) -> None:
        """Write a row when due; callbacks watch, they never change weights or random generators."""
        if trainer.epoch % self.config.every:
            return
        with torch.no_grad():
            norms = [weight.norm() for weight in trainer.learner.parameters()]
            norm = torch.stack(norms).norm().item()
        path = trainer.run.path / "mine.csv"
        is_new = not path.exists()
        with path.open("a", encoding="utf-8") as file:
            if is_new:
                file.write("epoch,norm\n")
            file.write(f"{trainer.epoch},{norm:.6g}\n")


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
