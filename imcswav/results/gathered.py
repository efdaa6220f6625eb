"""The signals of many finished runs beside their accuracy, and how far each orders the runs as accuracy does.

The correlation is analysis after the fact: it needs labels, and it chooses nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imcswav.errors import ImcswavError
from imcswav.recipe.flat import flat
from imcswav.results.series import FILE, is_series
from imcswav.runs import PLACE, RunFolder, within

FEWEST = 3
"""Runs without which there is no correlation: two are always in one order or the other."""
ALL = "all recipes"
FORM = ("size", "channels", "resize", "limit", "placement")
"""Settings of data that leave the images that are scored the same ones."""


@dataclass(frozen=True)
class Row:
    """One run: ``acc`` in [0, 1], None without labels; ``signals`` by name, those of a series of seeds among them.

    ``data`` names what can be compared: the data, the scored images and K. ``recipe`` is the recipe's name. Either has
    a number where several share it; ``source`` tells data apart, ``settings`` recipes.
    """

    path: Path
    recipe: str
    data: str
    seed: int
    acc: float | None
    signals: dict[str, float]
    settings: str = ""
    source: str = ""


@dataclass(frozen=True)
class Correlation:
    """Spearman's ρ of a signal with ACC over ``n`` runs in a group; None where it has no meaning."""

    data: str
    recipe: str
    signal: str
    n: int
    rho: float | None

    @property
    def shown(self) -> str:
        """ρ with its sign."""
        return "–" if self.rho is None else f"{self.rho:+.2f}"


@dataclass(frozen=True)
class Gathered:
    """Every run with signals that was found, the correlations, and the runs ``without`` signals."""

    rows: list[Row]
    correlations: list[Correlation]
    without: list[Path]

    @property
    def names(self) -> list[str]:
        """Signals that any run has, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row.signals))


def gather(folders: Sequence[str | Path]) -> Gathered:
    """Every finished run in the folders or anywhere below them, each once.

    Raises ImcswavError for a folder that isn't there, or where no run has signals; RunError for a summary that can't
    be read.
    """
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ImcswavError(f"There is no folder {folder}; give a run folder, or one that holds some.")
        for file in sorted(folder.rglob("summary.json")):
            if (file.parent / "recipe.toml").is_file():
                found.setdefault(file.parent.resolve(), file.parent)
    rows, without = [], []
    for path in found.values():
        row = _row(path)
        if row.signals:
            rows.append(row)
        else:
            without.append(path)
    if not rows:
        raise ImcswavError(
            f"No finished run with signals lies in {', '.join(map(str, folders))}; runs with evaluation.signals = true "
            f"write them."
        )
    rows = _told_apart(rows)
    return Gathered(rows, _correlations(rows), without)


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Rank correlation in [−1, 1], ties at their mean rank; None for fewer than three pairs or a constant side."""
    if len(one) < FEWEST or len(set(one)) < 2 or len(set(other)) < 2:
        return None
    from scipy.stats import spearmanr

    rho = float(spearmanr(one, other).statistic)
    return rho if math.isfinite(rho) else None


def _row(path: Path) -> Row:
    summary = RunFolder(path).summary()
    signals = dict(summary.get("signals") or {})
    if signals and is_series(path.parent):
        signals |= _of_series(path, summary["seed"])
    tables = tomllib.loads((path / "recipe.toml").read_text(encoding="utf-8"))
    name = tables.get("data", {}).get("name", "unknown data")
    return Row(
        path=path,
        recipe=str(summary.get("recipe")),
        data=f"{name}, {summary.get('scored_on')}, {summary.get('clusters')} clusters",
        seed=summary.get("seed", 0),
        acc=summary.get("acc"),
        signals=signals,
        settings=_settings(tables),
        source=_source(tables),
    )


def _told_apart(rows: list[Row]) -> list[Row]:
    """Data, and recipes, of one name and other settings numbered: accuracies, and losses, can't be compared."""
    numbers = _numbers([(row.data, row.source) for row in rows])
    rows = [dataclasses.replace(row, data=row.data + number) for row, number in zip(rows, numbers, strict=True)]
    numbers = _numbers([((row.data, row.recipe), row.settings) for row in rows])
    return [dataclasses.replace(row, recipe=row.recipe + number) for row, number in zip(rows, numbers, strict=True)]


def _numbers(named: Sequence[tuple[Hashable, str]]) -> list[str]:
    """For pairs of a name and what bears it: " (2)" in order of appearance where several bear it, else ""."""
    bearers: dict[Hashable, dict[str, int]] = {}
    for name, bearer in named:
        known = bearers.setdefault(name, {})
        known.setdefault(bearer, len(known) + 1)
    return [f" ({bearers[name][bearer]})" if len(bearers[name]) > 1 else "" for name, bearer in named]


def _source(tables: dict[str, Any]) -> str:
    """Which images a recipe takes, as text, but for their form, and the place of those that are the same everywhere."""
    data = tables.get("data", {})
    form = (*FORM, "download", "root") if "download" in data else FORM
    return json.dumps({key: value for key, value in data.items() if key not in form}, sort_keys=True, default=str)


def _settings(tables: dict[str, Any]) -> str:
    """What of a recipe makes a result, as text; of a second stage in a series the rung, not each seed's run of it."""
    values = flat(tables)
    other = (*PLACE, "seed", "name", *(["init.run"] if "init.rung" in values else []))
    kept = {path: value for path, value in values.items() if not within(path, other)}
    return json.dumps(kept, sort_keys=True, default=str)


def _of_series(path: Path, seed: int) -> dict[str, float]:
    """What the series says of the run, unless the folder is another attempt's; nothing where it can't be read."""
    try:
        known: dict[str, Any] = json.loads((path.parent / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if known.get("runs", {}).get(str(seed)) != path.name:
        return {}
    return dict(known.get("signals", {}).get(str(seed), {}))


def _correlations(rows: Sequence[Row]) -> list[Correlation]:
    """Within each data set: for each recipe, and for all of them together where there are several."""
    found = []
    for data in dict.fromkeys(row.data for row in rows):
        here = [row for row in rows if row.data == data]
        recipes = list(dict.fromkeys(row.recipe for row in here))
        for recipe in [*recipes, *([ALL] if len(recipes) > 1 else [])]:
            group = [row for row in here if recipe in (row.recipe, ALL)]
            for name in dict.fromkeys(name for row in group for name in row.signals):
                pairs = [(row.signals[name], row.acc) for row in group if name in row.signals and row.acc is not None]
                values, accuracies = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
                found.append(Correlation(data, recipe, name, len(pairs), spearman(values, accuracies)))
    return found
