"""Callbacks: what happens around training. They watch; they never change weights or generators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from imcswav.component import Component
from imcswav.errors import Problem

if TYPE_CHECKING:
    from imcswav.evaluate import Assessment
    from imcswav.trainer import Trainer


class Callback(Component, kind="callback"):
    """Hooks of a run, all optional. ``trainer`` gives access to everything, see imcswav/trainer.py.

    Of several processes that train together only the main one calls them, and it is alone meanwhile: nothing that they
    do may wait for the others. ``every_rank`` says otherwise.
    """

    class Config(Component.Config):
        enabled: bool = True
        """Leave the callback out with false."""

        def check(self) -> list[Problem]:
            """What keeps it from working on this machine, known before a run."""
            return []

        def room(self, checkpoint: int) -> int:
            """Bytes that it has in the run folder at most at once, where they are many; a checkpoint has so many."""
            return 0

    every_rank: ClassVar[bool] = False
    """Whether all processes call the hooks, at the same moments, so that they may share work and wait for each other.

    What such a callback decides must be the same on all of them, and only the main one may write."""

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
