"""metrics.jsonl: one JSON object a log."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from imcswav.callbacks import Callback
from imcswav.plugins import hookimpl
from imcswav.results.logged import MARK

if TYPE_CHECKING:
    from imcswav.trainer import Trainer


class Metrics(Callback, name="metrics"):
    """Appends losses and scores with step, epoch (counted from 0) and training seconds to ``metrics.jsonl``."""

    def start(self, trainer: Trainer) -> None:
        """Drop what an interrupted run logged after the checkpoint it goes on from."""
        path = trainer.run.path / "metrics.jsonl"
        if path.is_file():
            rows = _whole_rows(path.read_text(encoding="utf-8"))
            before = itertools.takewhile(lambda row: not _after_epoch(row, trainer), rows)
            kept = [row for row in before if row["step"] <= trainer.step and not _again(row, trainer)]
            trainer.run.write_text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """Append a row."""
        row = {"step": trainer.step, "epoch": trainer.epoch, "seconds": round(trainer.seconds, 3), **values}
        with (trainer.run.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _after_epoch(row: dict[str, Any], trainer: Trainer) -> bool:
    """Whether it came at the end of the epoch whose steps are done, and whose end is still to come (again)."""
    due = trainer.step == min(trainer.steps, (trainer.epoch + 1) * trainer.steps_per_epoch)
    own = "loss" in row or any(name.startswith(MARK) for name in row)  # of the step itself
    return due and not trainer.ended and bool(row["step"] == trainer.step) and not own


def _again(row: dict[str, Any], trainer: Trainer) -> bool:
    """Whether a run that was cut off after its last step will log the row once more: the scores of its summary."""
    return trainer.ended and row["step"] == trainer.step and any(name.startswith("eval/") for name in row)


def _whole_rows(text: str) -> list[dict[str, Any]]:
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # a line torn by a crash
            break
    return rows


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Metrics]
