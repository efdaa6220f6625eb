"""Logs for MLflow. Needs `pip install 'imcswav[mlflow]'`; switch on with `[callbacks.mlflow]`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from imcswav.callbacks._logger import Logger, numbers, title
from imcswav.plugins import hookimpl
from imcswav.recipe.flat import flat

if TYPE_CHECKING:
    from imcswav.trainer import Trainer

LONGEST = 500
"""Characters of a parameter that every version takes."""
AT_ONCE = 100
"""Parameters a request."""


class MLflow(Logger, name="mlflow"):
    """Settings as parameters, numbers and summary as metrics of an MLflow run.

    It goes where MLFLOW_TRACKING_URI says, else where MLflow keeps runs by itself, in the working directory. A metric's
    "/" becomes ".", since some stores can't hold "loss" and "loss/swav" beside each other. A resumed run goes on.
    """

    class Config(Logger.Config):
        tracking_uri: str | None = None
        """Where to, such as "sqlite:///mlflow.db" or a server's address; unset: as above."""

    config: Config
    client: Any = None
    run_id = ""

    def start(self, trainer: Trainer) -> None:
        """Begin the run, or go on with it; raises RunError without the package."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
        mlflow = self.package("mlflow")
        client = mlflow.MlflowClient(tracking_uri=self.config.tracking_uri)
        known = self.known_id(trainer)
        if known is None:
            self.run_id = self._create(mlflow, client, trainer)
            self.keep_id(trainer, self.run_id)
        else:
            self.run_id = known
            client.update_run(known, status="RUNNING")
        self.client = client

    def _create(self, mlflow: Any, client: Any, trainer: Trainer) -> str:
        experiment = client.get_experiment_by_name(self.config.project)
        number = experiment.experiment_id if experiment else client.create_experiment(self.config.project)
        run_id = str(client.create_run(number, run_name=title(trainer)).info.run_id)
        settings = flat(trainer.recipe.tables()).items()
        params = [mlflow.entities.Param(key, str(value)[:LONGEST]) for key, value in settings]
        for first in range(0, len(params), AT_ONCE):
            client.log_batch(run_id, params=params[first : first + AT_ONCE])
        client.set_tag(run_id, "run_folder", str(trainer.run.path.resolve()))
        return run_id

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """All values of a step in one request."""
        entities = self.package("mlflow").entities
        now = int(1000 * time.time())
        metrics = [
            entities.Metric(name.replace("/", "."), float(value), now, trainer.step) for name, value in values.items()
        ]
        self.client.log_batch(self.run_id, metrics=metrics)

    def close(self, trainer: Trainer) -> None:
        """The summary of a finished run; the run's end."""
        if self.client is None:
            return
        if trainer.run.finished:
            found = numbers(trainer.run.summary())
            self.log(trainer, {f"summary/{name}": value for name, value in found.items()})
        self.client.set_terminated(self.run_id, "FINISHED" if trainer.run.finished else "KILLED")
        self.client = None


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [MLflow]
