"""What a report takes from the files of a run. Any may be missing: then the report says less."""

from __future__ import annotations

import csv
import json
import math
import shlex
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imcswav.data.array import ArrayData
from imcswav.files import unguarded
from imcswav.results.logged import by_scale, read_rows

POINTS = 400
"""Most points of a curve."""
ROWS = 200
"""Most rows of a table of files."""


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; empty where it is missing, broken or no table."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_text(path: Path) -> str:
    """A text file, "" where it can't be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def curves(metrics: Path) -> list[dict[str, Any]]:
    """Panels with a title and series (name, x, y) over steps, thinned out evenly; the last point is always there."""
    try:
        rows = read_rows(metrics)
    except (OSError, ValueError):  # torn by a crash
        return []
    panels = by_scale(rows).items()
    return [{"title": title, "series": [_series(rows, name) for name in names]} for title, names in panels]


def _series(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    points = [(row["step"], row[name]) for row in rows if name in row and "step" in row]
    points = [(x, y) for x, y in points if isinstance(y, int | float) and math.isfinite(y)]  # JSON knows no NaN
    stride = -(-len(points) // POINTS)
    kept = points[::-1][::stride][::-1] if stride else []
    return {"name": name.removeprefix("eval/"), "x": [x for x, _ in kept], "y": [y for _, y in kept]}


def table(path: Path) -> dict[str, Any]:
    """Header, the first rows, the number of all, and of ``quality.csv`` how often each finding is there."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            header, *rows = [[unguarded(cell) for cell in row] for row in csv.reader(file)]
    except (OSError, ValueError, csv.Error):
        return {}
    place = header.index("finding") if "finding" in header else None
    findings = Counter(row[place] for row in rows if place < len(row)) if place is not None else {}
    return {"header": header, "rows": rows[:ROWS], "count": len(rows), "findings": dict(findings)}


def findings(health: Path) -> list[str] | None:
    """The sentences of ``health.json`` with their steps; None where nobody looked."""
    found = read_json(health).get("findings")
    if not isinstance(found, list):
        return None
    return [
        f"Step {one['step']:,}: {one['text']}"
        for one in found
        if isinstance(one, dict) and {"step", "text"} <= set(one)
    ]


def environment_rows(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts of ``environment.json`` as text, packages one by one; how it was started stands elsewhere."""
    rows = []
    for key, value in environment.items():
        if key == "packages" and isinstance(value, dict):
            rows += [(name, str(version)) for name, version in value.items()]
        elif key == "command" or value in (None, [], ""):
            continue
        else:
            rows.append((key.replace("_", " "), value if isinstance(value, str) else json.dumps(value)))
    return rows


def reproduce(run: Path, environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What to type, as (what it does, command)."""
    command = environment.get("command")
    steps = []
    if isinstance(command, list) and len(command) > 1 and _is_ours(str(command[0])):
        steps.append(("How this run was started", shlex.join(["imcswav", *map(str, command[1:])])))
    if _can_be_read_again(run / "recipe.toml"):
        again = f"imcswav run {shlex.quote(str(run / 'recipe.toml'))} --out NEW_FOLDER"
        steps.append(("The same again, with every setting as it was", again))
    steps.append(("Make this page anew", f"imcswav report {shlex.quote(str(run))}"))
    return steps


def _is_ours(program: str) -> bool:
    """Whether what a process was started as is the command line, rather than somebody's program or a notebook."""
    path = Path(program)
    return path.stem == "imcswav" or path.parts[-2:] == ("imcswav", "__main__.py")


def _can_be_read_again(recipe: Path) -> bool:
    """Whether a recipe is there and its images weren't handed over from Python."""
    try:
        data = tomllib.loads(read_text(recipe)).get("data", {})
    except tomllib.TOMLDecodeError:
        return False
    return recipe.is_file() and data.get("name") != ArrayData.name
