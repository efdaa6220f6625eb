"""An early end where clusters die, told by the losses' own logs, without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from imcswav.callbacks import Callback
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from imcswav.health.facts import Facts
    from imcswav.trainer import Trainer

WATCHED = "/effective_clusters"
"""End of the names of the figures that count clusters in use, such as ``imc/effective_clusters``."""


class Collapse(Callback, name="collapse"):
    """Ends the training after an epoch in which too few clusters were in use.

    Every loss's log "<loss>/effective_clusters", the exponential of an entropy, is averaged over the epoch's steps.
    The run then is evaluated and finished like any other, with the checkpoint of that epoch, and its summary says why
    under "stopped". In the last epoch it says so and no more.
    """

    class Config(Callback.Config):
        share: float = Field(0.5, gt=0, le=1)
        """Least effective clusters, as a share of K, or of the clusters of the head that the loss reads, or of a
        batch's images where these are fewer."""

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._sums: dict[str, tuple[float, int]] = {}  # with the steps that they are over
        self._logged: int | None = None
        self._facts: Facts | None = None

    def start(self, trainer: Trainer) -> None:
        """Begin to count at the step that the run is at."""
        from imcswav.health.facts import facts_of

        self._facts = facts_of(trainer)
        if self._logged is None:  # no checkpoint, or one of an earlier version
            self._logged = trainer.step

    def state(self) -> dict[str, Any]:
        """What was counted since the epoch's start, and at which step last."""
        return {"sums": dict(self._sums), "logged": self._logged}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting there."""
        self._sums, self._logged = dict(state.get("sums", {})), state.get("logged")

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """Add up the means over the steps since the last log; judge at the last of an epoch."""
        assert self._logged is not None
        steps = trainer.step - self._logged
        if not steps or "loss" not in values or trainer.stopped is not None:  # scores and the like
            return
        for name, value in values.items():
            if name.endswith(WATCHED):
                total, before = self._sums.get(name, (0.0, 0))
                self._sums[name] = total + steps * value, before + steps
        self._logged = trainer.step
        if trainer.step % trainer.steps_per_epoch == 0:
            self._judge(trainer)
            self._sums = {}

    def _judge(self, trainer: Trainer) -> None:
        if not self._sums:
            if trainer.epoch == 0:
                trainer.call("note", f"The callback collapse sees nothing: no loss logs a figure …{WATCHED}.")
            return
        shares = {name: total / steps / self._clusters(name) for name, (total, steps) in self._sums.items()}
        name = min(shares, key=lambda name: shares[name])
        if shares[name] >= self.config.share:
            return
        clusters = self._clusters(name)
        told = (
            f"clusters die: {name} is {shares[name] * clusters:.3g}, less than {self.config.share * clusters:.3g}, "
            f"{self.config.share:.0%} of the {clusters}; raise the entropy weight of the loss or lower optimizer.lr, "
            f"and start anew."
        )
        if trainer.step == trainer.steps:  # nothing is left to be spared
            trainer.call("note", f"Warning: {told}")
        else:
            trainer.stop(f"Stopped after epoch {trainer.epoch + 1} of {trainer.epochs}, for {told}")

    def _clusters(self, name: str) -> int:
        """How many a batch can fill: those of the loss, or one an image."""
        assert self._facts is not None
        clusters = self._facts.counted.get(name.removesuffix(WATCHED), self._facts.clusters)
        return min(clusters, self._facts.value("batch_size", "trainer") or clusters)


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Collapse]
