"""Logs for Weights & Biases. Needs `pip install 'imcswav[wandb]'`; switch on with `[callbacks.wandb]`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from imcswav.callbacks._logger import Logger, new_id, title
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from imcswav.trainer import Trainer


class WandB(Logger, name="wandb"):
    """Settings, numbers and summary as a Weights & Biases run, kept in ``wandb/`` in the run folder.

    Nothing is uploaded unless ``mode`` or the environment variable WANDB_MODE says "online"; `wandb sync FOLDER` sends
    what was kept. A resumed run goes on under its id.
    """

    class Config(Logger.Config):
        mode: Literal["auto", "offline", "online"] = "auto"
        """"auto" does what WANDB_MODE says, and is offline where it says nothing."""

    config: Config
    run: Any = None

    def start(self, trainer: Trainer) -> None:
        """Begin the run, or go on with it; raises RunError without the package."""
        mode = os.environ.get("WANDB_MODE", "offline") if self.config.mode == "auto" else self.config.mode
        if mode != "online":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when wandb is imported
        wandb = self.package("wandb")
        run_id = self.known_id(trainer)
        if run_id is None:
            run_id = new_id()
            self.keep_id(trainer, run_id)
        self.run = wandb.init(
            project=self.config.project, id=run_id, name=title(trainer), dir=str(trainer.run.path), mode=mode,
            config=trainer.recipe.tables(), resume="allow" if mode == "online" else None,
            settings=wandb.Settings(console="off"),
        )  # fmt: skip
        self.run.define_metric("*", step_metric="step")  # wandb's own count can't go back to a checkpoint's step

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """All values of a step together."""
        self.run.log({"step": trainer.step, **values})

    def close(self, trainer: Trainer) -> None:
        """The summary of a finished run; the run's end."""
        if self.run is None:
            return
        if trainer.run.finished:
            self.run.summary.update(trainer.run.summary())
        self.run.finish(exit_code=0 if trainer.run.finished else 1)
        self.run = None


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [WandB]
