"""What a person wants of a run: its images looked through before, and tables and a report of the clusters after."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcswav.callbacks import Callback
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from imcswav.evaluate import Assessment
    from imcswav.trainer import Trainer


class Clustering(Callback, name="clustering"):
    """Writes ``quality.csv`` before training, and afterwards tables, ``report.html`` and ``clustering/``.

    The tables are ``labels.csv`` and ``clusters.csv``; the commands report, edit and choose-k read the folder.
    `imcswav report RUN` makes all but the first for a run without this callback.
    """

    class Config(Callback.Config):
        inspect: bool = True
        """Look for broken, blank, tiny and duplicate files; images that are no files aren't looked at."""

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.duplicates: dict[str, str] = {}

    def start(self, trainer: Trainer) -> None:
        """Look through the files, which distort clusters if they are duplicates or show nothing."""
        if not (self.config.inspect and trainer.data.folder and trainer.data.channels in (1, 3)):
            return
        from imcswav.imaging.find import find_images
        from imcswav.quality import inspect_once
        from imcswav.quality.report import findings, write_findings

        folder = Path(trainer.data.folder)
        found = inspect_once(find_images(folder), folder)
        write_findings(trainer.run.path / "quality.csv", found)
        self.duplicates = {found.names[one.image]: found.names[one.of] for one in found.duplicates}
        counts = Counter(kind for _, kind, *_ in findings(found))
        if counts:
            told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
            trainer.call("note", f"Looked through the files: {told}; quality.csv lists them.")

    def finish(self, trainer: Trainer, assessment: Assessment) -> None:
        """Write everything."""
        from imcswav.clustering.collect import record

        record(trainer.run.path, trainer.data, assessment, self.duplicates)


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Clustering]
