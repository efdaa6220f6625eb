"""Logs for TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imcswav.callbacks import Callback
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from imcswav.trainer import Trainer


class TensorBoard(Callback, name="tensorboard"):
    """Writes every logged number to ``tensorboard/`` in the run folder."""

    writer: SummaryWriter | None = None

    def start(self, trainer: Trainer) -> None:
        """Open the log; rows after the present step of an interrupted run are purged."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(trainer.run.path / "tensorboard"), purge_step=trainer.step + 1)

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """One scalar a value."""
        assert self.writer is not None
        for name, value in values.items():
            self.writer.add_scalar(name, value, trainer.step)

    def close(self, trainer: Trainer) -> None:
        """Flush and close."""
        if self.writer is not None:
            self.writer.close()


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [TensorBoard]
