"""metrics.jsonl: one JSON object a log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imcswav.callbacks import Callback
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from imcswav.trainer import Trainer


class Metrics(Callback, name="metrics"):
    """Appends losses and scores with step, epoch (counted from 0) and training seconds to ``metrics.jsonl``."""

    def start(self, trainer: Trainer) -> None:
        """Drop what an interrupted run logged after the checkpoint it goes on from."""
        path = trainer.run.path / "metrics.jsonl"
        if path.is_file():
            rows = _whole_rows(path.read_text(encoding="utf-8"))
            kept = [json.dumps(row) + "\n" for row in rows if row["step"] <= trainer.step and not _again(row, trainer)]
            trainer.run.write_text("metrics.jsonl", "".join(kept))

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """Append a row."""
        row = {"step": trainer.step, "epoch": trainer.epoch, "seconds": round(trainer.seconds, 3), **values}
        with (trainer.run.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


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
