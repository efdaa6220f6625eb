"""``ladder.md``: the table of a ladder, what changed from rung to rung, and where it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imcswav.recipe.described import value_text
from imcswav.results.ladder_table import rows
from imcswav.results.rungs import RULE, LadderResult, Rung
from imcswav.results.series import DEVIATION
from imcswav.runs import within


def markdown(result: LadderResult, seeds: Sequence[int], environment: Mapping[str, Any] | None) -> str:
    """The page as a whole."""
    head, table = rows(result)
    lines = [f"# Ladder {result.name}", "", _row(head), _row(["---"] * len(head)), *map(_row, table), ""]
    lines += [f"Seeds {', '.join(map(str, seeds))}. Figures in %, mean ± {DEVIATION}; seconds of training, mean."]
    if result.times_to_acc:
        lines[-1] += " Seconds to an ACC: up to the first evaluation at or above it."
    lines += ["", f"Protocol: {result.protocol or 'unknown'}.", "", RULE, ""]
    if result.failed:
        lines += ["## Failed", "", *(f"- `{rung.name}`: {rung.failure}" for rung in result.failed), ""]
    lines += ["## What changed", ""]
    for rung in result.rungs[1:]:
        lines += [f"- `{rung.name}`, from `{rung.below}`:", *(f"  - {line}" for line in changed(rung))]
    lines += ["", "## Environment", "", _where(environment or {})]
    return "\n".join(lines) + "\n"


def changed(rung: Rung) -> list[str]:
    """A line a setting that differs from the rung below; of another component, one line with all its settings."""
    named = [path.removesuffix(".name") for path in rung.changes if path.endswith(".name")]
    parts = [part for part in named if not any(within(part, [other]) for other in named if other != part)]
    lines = []
    for part in parts:
        inside = {path[len(part) + 1 :]: values for path, values in rung.changes.items() if within(path, [part])}
        old, new = (
            {key: values[side] for key, values in inside.items() if values[side] is not None} for side in (0, 1)
        )
        lines.append(f"`{part}`: {_component(old)} → {_component(new)}")
    for path, (below, here) in rung.changes.items():
        if not within(path, parts):
            lines.append(f"`{path}`: {_value(below)} → {_value(here)}")
    return lines or ["nothing"]


def _component(settings: dict[str, Any]) -> str:
    if "name" not in settings:
        return "none"
    others = ", ".join(f"{key} {value_text(value)}" for key, value in settings.items() if key != "name")
    return f"`{settings['name']}`" + (f" ({others})" if others else "")


def _value(value: Any) -> str:
    return "unset" if value is None else f"`{value_text(value)}`"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _where(environment: Mapping[str, Any]) -> str:
    """The first run's; what was another later is in ladder.json."""
    packages, gpus = environment.get("packages", {}), environment.get("gpus") or ["no GPU"]
    commit = f" ({environment['git_commit'][:10]})" if environment.get("git_commit") else ""
    later = "; others of later runs are in ladder.json" if environment.get("resumed") else ""
    found = [
        f"imcswav {environment.get('imcswav')}{commit}",
        f"torch {packages.get('torch')}",
        f"Python {environment.get('python')}",
        f"{environment.get('processor')} ({environment.get('cores')} cores)",
        *gpus,
        f"{environment.get('started')}{later}.",
    ]
    return ", ".join(found)
