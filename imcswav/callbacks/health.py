"""Signs of trouble while training: told once each, with their cause and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field

from imcswav.callbacks import Callback
from imcswav.errors import RunError
from imcswav.plugins import hookimpl
from imcswav.results.logged import MARK

if TYPE_CHECKING:
    from imcswav.evaluate import Assessment
    from imcswav.health.doctor import Doctor, Finding
    from imcswav.trainer import Trainer

FILE = "health.json"


class Health(Callback, name="health"):
    """Looks for collapse and its causes in every log, and at up to 512 training images after epochs, without labels.

    A finding is a sentence that names the cause and the settings to change. It is shown once, marked in the logs as
    "finding/<rule>", and kept in ``health.json``, which the report shows. Logs "health/…", see
    ``imcswav.health.probe``.
    """

    class Config(Callback.Config):
        on_collapse: Literal["warn", "stop"] = "warn"
        """What follows a finding after which going on is worth nothing: a warning, or the run's end with an error, the
        last checkpoint kept. Findings that are no collapse are warnings in either case."""
        every: int = Field(1, ge=1)
        """Epochs between two looks at images."""

    config: Config
    doctor: Doctor

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._restored: dict[str, Any] = {}
        self._clusters: torch.Tensor | None = None

    def start(self, trainer: Trainer) -> None:
        """Begin, or go on with what was found before the checkpoint."""
        from imcswav.health.doctor import Doctor
        from imcswav.health.facts import facts_of
        from imcswav.schedules import Schedule

        schedule = trainer.recipe.schedule
        assert isinstance(schedule, Schedule.Config)
        warmup = schedule.warmup(trainer.steps_per_epoch)
        self.doctor = Doctor(facts_of(trainer), steps=trainer.steps, warmup=warmup)
        if self._restored:
            self.doctor.restore(self._restored)
        elif trainer.learner.trains:
            self.doctor.begin(trainer.step, float(trainer.engine.weight_norm()))
        if (trainer.run.path / FILE).exists():  # what was found after the checkpoint will be found again
            self._write(trainer)

    def state(self) -> dict[str, Any]:
        """What the doctor remembers, and the clusters of the last look."""
        return self.doctor.state() | {"clusters": self._clusters}

    def restore(self, state: dict[str, Any]) -> None:
        """Kept until the start, when the doctor is there."""
        self._restored, self._clusters = state, state.get("clusters")

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """Judge the training's own numbers."""
        if "loss" in values:
            self._tell(trainer, self.doctor.judge(values, trainer.step, trainer.epoch))

    def end_epoch(self, trainer: Trainer) -> None:
        """Look at images when due, and judge them."""
        from imcswav.health.probe import look

        if trainer.epoch % self.config.every and not trainer.ended:
            return
        found = look(trainer, None if self._clusters is None else self._clusters.numpy())
        self._clusters = None if found.clusters_n is None else torch.from_numpy(found.clusters_n)
        values = {f"health/{name}": value for name, value in found.figures.items()}
        trainer.call("log", values)
        self._tell(trainer, self.doctor.judge(values, trainer.step, trainer.epoch))

    def diverge(self, trainer: Trainer, text: str) -> None:
        """The worst finding: keep it, for the run ends."""
        from imcswav.health.doctor import Finding

        finding = Finding("diverged", trainer.step, trainer.epoch, text, collapse=True)
        self.doctor.found.append(finding)
        self._mark(trainer, finding)

    def finish(self, trainer: Trainer, assessment: Assessment) -> None:
        """Say also that nothing was found."""
        self._write(trainer)

    def _tell(self, trainer: Trainer, findings: list[Finding]) -> None:
        stops = self.config.on_collapse == "stop"
        worst = next((finding for finding in findings if stops and finding.collapse), None)
        for finding in findings:
            self._mark(trainer, finding)
            if finding is not worst:  # the error says that one
                trainer.call("note", f"Warning: {finding.text}")
        if worst is not None:
            kept = "; its last checkpoint is kept" if trainer.run.saved else ""
            raise RunError(
                f"{worst.text} The run {trainer.run.path} stops at step {trainer.step}, for "
                f'callbacks.health.on_collapse is "stop"{kept}.'
            )

    def _mark(self, trainer: Trainer, finding: Finding) -> None:
        self._write(trainer)
        trainer.call("log", {f"{MARK}{finding.rule}": 1.0})

    def _write(self, trainer: Trainer) -> None:
        trainer.run.write_json(FILE, {"findings": self.doctor.state()["found"]})


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Health]
