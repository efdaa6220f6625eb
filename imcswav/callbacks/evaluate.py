"""Scores during training, where labels exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from imcswav.callbacks import Callback
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from imcswav.trainer import Trainer


class Evaluate(Callback, name="evaluate"):
    """Logs the recipe's metrics every few epochs. They are shown, and steer nothing."""

    class Config(Callback.Config):
        every: int = Field(10, ge=1)
        """Epochs between two evaluations; after the last epoch the summary's scores are logged."""

    every_rank: ClassVar[bool] = True  # they share the images

    config: Config

    def end_epoch(self, trainer: Trainer) -> None:
        """Evaluate when due."""
        from imcswav.evaluate import evaluation_model, scores

        due = trainer.epoch % self.config.every == 0 and not trainer.ended
        if not due or (trainer.data.test or trainer.data.train).labels is None:
            return
        with evaluation_model(trainer) as model:
            found = scores(model, trainer.data, trainer.recipe)
        trainer.call("log", {f"eval/{name}": value for name, value in found.items()})


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Evaluate]
