"""Logs for Trackio. Needs `pip install 'imcswav[trackio]'`; switch on with `[callbacks.trackio]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imcswav.callbacks._logger import Logger, new_id, numbers, title
from imcswav.plugins import hookimpl
from imcswav.recipe.flat import flat

if TYPE_CHECKING:
    from imcswav.trainer import Trainer


class Trackio(Logger, name="trackio"):
    """Settings, numbers and summary as a Trackio run, in Trackio's local database (TRACKIO_DIR); see `trackio show`.

    Nothing is uploaded unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL says where to. A resumed run goes on under its
    name.
    """

    run: Any = None

    def start(self, trainer: Trainer) -> None:
        """Begin the run, or go on with it; raises RunError without the package."""
        trackio = self.package("trackio")
        known = self.known_id(trainer)
        name = known or f"{title(trainer)}-{new_id()}"
        if known is None:
            self.keep_id(trainer, name)
        self.run = trackio.init(
            project=self.config.project, name=name, config=flat(trainer.recipe.tables()), embed=False,
            resume="allow" if known else "never",
        )  # fmt: skip

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """All values of a step together."""
        self.run.log(dict(values), step=trainer.step)

    def close(self, trainer: Trainer) -> None:
        """The summary of a finished run; the run's end."""
        if self.run is None:
            return
        if trainer.run.finished:
            found = numbers(trainer.run.summary())
            self.log(trainer, {f"summary/{name}": value for name, value in found.items()})
        self.run.finish()
        self.run = None


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Trackio]
