"""What a person wants of a finished run: tables of images and clusters, and a report to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imcswav.callbacks import Callback
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from imcswav.evaluate import Assessment
    from imcswav.trainer import Trainer


class Clustering(Callback, name="clustering"):
    """Writes ``labels.csv``, ``clusters.csv`` and ``clustering/``, which the commands report, edit and choose-k read.

    `imcswav report RUN` makes them later for a run without this callback.
    """

    def finish(self, trainer: Trainer, assessment: Assessment) -> None:
        """Write everything."""
        from imcswav.clustering.collect import record

        record(trainer.run.path, trainer.data, assessment)


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Clustering]
