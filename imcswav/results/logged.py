"""What a run logged: the rows of its ``metrics.jsonl``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NO_CURVES = {"step", "epoch", "lr", "seconds", "images_per_second"}
"""Columns of a row that tell when it was, or how the training was set."""

MARK = "finding/"
"""Begins the names of what the callback ``health`` marks at a step."""


def read_rows(metrics: Path) -> list[dict[str, Any]]:
    """The rows, in order; none where there is no file."""
    return [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()] if metrics.is_file() else []


def seconds_to(metrics: Path, accuracy: float) -> float | None:
    """Seconds of training at the first logged evaluation with an ACC of at least ``accuracy``; None without one."""
    reached = (row for row in read_rows(metrics) if row.get("eval/acc", -1.0) >= accuracy)
    return next((float(row["seconds"]) for row in reached), None)


def by_scale(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Names of the logged values, sorted, by the scale that they share; losses first, then scores, then the others."""
    groups: dict[str, list[str]] = {}
    for name in sorted({key for row in rows for key in row if not key.startswith(MARK)} - NO_CURVES):
        groups.setdefault(_scale(name), []).append(name)
    return dict(sorted(groups.items(), key=lambda group: (group[0] != "losses", group[0] != "scores", group[0])))


def _scale(name: str) -> str:
    """Which numbers of a log belong together: counts of prototypes and losses differ a thousandfold."""
    if name.startswith("eval/"):
        return "scores"
    if name.split("/")[0] == "loss":
        return "losses"
    return name.rsplit("/", 1)[-1].replace("_", " ")
