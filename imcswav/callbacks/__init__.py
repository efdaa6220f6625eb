"""Callbacks: what happens around training. They watch; they never change weights or generators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imcswav.component import Component

if TYPE_CHECKING:
    from imcswav.evaluate import Assessment
    from imcswav.trainer import Trainer


class Callback(Component, kind="callback"):
    """Hooks of a run, all optional. ``trainer`` gives access to everything, see imcswav/trainer.py."""

    class Config(Component.Config):
        enabled: bool = True
        """Leave the callback out with false."""

    config: Config

    def start(self, trainer: Trainer) -> None:
        """Before the first step, also of a resumed run."""

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """New numbers: losses (``loss`` among them) at a logging step, metrics at an evaluation, signs of health."""

    def note(self, trainer: Trainer, text: str) -> None:
        """Something the user should know, in a sentence: an option that could not be used, say."""

    def diverge(self, trainer: Trainer, text: str) -> None:
        """Loss or weights are no finite numbers, as ``text`` says: the run ends with it, and nothing more is saved."""

    def end_epoch(self, trainer: Trainer) -> None:
        """After the last step of an epoch; ``trainer.epoch`` counts the finished ones."""

    def interrupt(self, trainer: Trainer) -> None:
        """Ctrl-C, SIGTERM or SIGUSR1: the step under way is finished."""

    def state(self) -> dict[str, Any]:
        """What has to last over steps: plain values and tensors, kept in checkpoints under the callback's name."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what ``state`` gave, before ``start`` of a resumed run; empty where the checkpoint has none."""

    def finish(self, trainer: Trainer, assessment: Assessment) -> None:
        """The last epoch's network has assigned all images, and the run folder has everything that runs leave."""

    def close(self, trainer: Trainer) -> None:
        """Last of all, also after an error or Ctrl-C; the run folder is not locked any more."""
