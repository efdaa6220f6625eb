"""What `run --seeds`, `ladder`, `reproduce`, `compare` and `signals` print."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from imcswav.console import LABELS, out
from imcswav.results.comparison import Comparison
from imcswav.results.gathered import Correlation, Gathered
from imcswav.results.gathered_files import NOTE, shown
from imcswav.results.ladder_table import rows
from imcswav.results.reproduction import RULE, Reproduction
from imcswav.results.rungs import RULE as GAIN_RULE
from imcswav.results.rungs import LadderResult
from imcswav.results.series import DEVIATION, FILE, SeedsResult
from imcswav.runs import figures

SIDE_BY_SIDE = 5
"""Runs whose signals fit beside each other into a terminal."""


def tell(text: str) -> None:
    """Progress of several runs, to standard error."""
    print(text, file=sys.stderr, flush=True)


def seeds(result: SeedsResult) -> None:
    """A row a seed, then mean ± standard deviation of each figure."""
    spreads = result.scores
    names = [_label(name) for name in spreads]
    table = Table("seed", *names, title=f"{_recipe(result)}: figures in %")
    for seed, run in result.runs.items():
        found = figures(run.summary)
        table.add_row(str(seed), *(_percent(found[name]) for name in spreads))
    if spreads:
        out.print(table)
    else:
        out.print(f"{_recipe(result)}: no labels, so no scores.")
    for name, spread in spreads.items():
        out.print(f"{_label(name)} {spread}")
    if any(result.signals.values()):
        signals(result)
    protocols = {run.summary["protocol"] for run in result.runs.values() if "protocol" in run.summary}
    rule = f"mean ± {DEVIATION}; " if spreads else ""
    out.print(f"{rule}protocol: {', '.join(sorted(protocols)) or 'unknown'}")
    out.print(f"Folder: {result.path} ({FILE})", soft_wrap=True)
    if result.kept is not None:
        out.print(str(result.kept), soft_wrap=True)
        out.print(f"Its folder: {result.runs[result.kept.seed].path}; nothing was deleted.", soft_wrap=True)


def signals(result: SeedsResult) -> None:
    """A row a signal, a column a seed; the accuracy stands below for the eye alone."""
    found, runs = result.signals, result.runs.values()
    names = dict.fromkeys(name for one in found.values() for name in one)
    rows = {name: [one.get(name) for one in found.values()] for name in names}
    accuracies = [run.summary.get("acc") for run in runs]
    if any(acc is not None for acc in accuracies):
        rows["(ACC, chooses nothing)"] = accuracies
    _side_by_side("without labels", [f"seed {seed}" for seed in found], rows)


def _side_by_side(first: str, heads: Sequence[str], rows: Mapping[str, Sequence[float | None]]) -> None:
    """Tables of a few runs each, one below the other."""
    for start in range(0, len(heads), SIDE_BY_SIDE):
        part = slice(start, start + SIDE_BY_SIDE)
        table = Table(first, *heads[part])
        for name, values in rows.items():
            table.add_row(name, *map(shown, values[part]))
        out.print(table)


def ladder(result: LadderResult) -> None:
    """A row a rung: figures, times, gain over the rung below; then what failed."""
    head, table_rows = rows(result)
    scores = 2 + len(result.metrics)  # two tables that each fit into a terminal, where one would be cut
    for columns, title in (
        (range(scores), f"{result.name}: figures in %"),
        ([0, *range(scores, len(head))], "what it took and brought"),
    ):
        table = Table(*(Column(head[place], overflow="fold", no_wrap=place == 0) for place in columns), title=title)
        for row in table_rows:
            table.add_row(*(row[place] for place in columns))
        out.print(table)
    for rung in result.failed:
        out.print(f"{rung.name} failed: {rung.failure}", soft_wrap=True)
    out.print(GAIN_RULE)
    out.print(f"mean ± {DEVIATION}; protocol: {result.protocol or 'unknown'}")
    out.print(f"Folder: {result.path} (ladder.md, ladder.csv, ladder.json)", soft_wrap=True)


def reproduction(done: Reproduction) -> None:
    """The runs, then a row a figure with its verdict."""
    seeds(done.seeds)
    table = Table("figure, in %", "expected", "here", "may fall short by", "verdict", title="Reproduction")
    for one in done.verdicts:
        beside = f" ± {100 * one.std:.1f}" if one.std else ""
        expected = f"{100 * one.expected:.1f}{beside} (n = {one.runs})"
        table.add_row(_label(one.name), expected, str(one.measured), f"{100 * one.allowed:.1f}", one.outcome)
    out.print(table)
    for name, protocol in done.protocols.items():
        out.print(f"{_label(name)}: {protocol}")
    out.print(RULE)
    if done.changes:
        tell(f"Warning: settings were changed ({', '.join(done.changes)}), so the expected figures may not hold.")
    out.print("Reproduced." if done.passed else "Not reproduced.")


def comparison(found: Comparison) -> None:
    """Runs by number, what differs in their recipes, figures, agreement of clusters."""
    numbers = [str(number) for number in range(1, len(found.runs) + 1)]
    for number, run in zip(numbers, found.runs, strict=True):
        out.print(f"{number}: {run}", soft_wrap=True)
    _columns("Settings that differ", "setting", numbers, found.settings)
    known = {name: row for name, row in found.scores.items() if any(value is not None for value in row)}
    scores = {_label(name): [_percent(value) for value in row] for name, row in known.items()}
    _columns("Figures in %", "figure", numbers, {"protocol": found.protocols, **scores})
    table = Table("runs", "images of both", "ARI", title="Agreement of the clusters as trained (adjusted Rand index)")
    for one in found.agreements:
        ari = "–" if one.ari is None else f"{one.ari:.4f}"
        table.add_row(f"{one.first + 1} and {one.second + 1}", f"{one.images:,}", ari)
    out.print(table)
    for one in found.agreements:
        if one.note:
            tell(f"Warning: runs {one.first + 1} and {one.second + 1}: {one.note}")


def gathered(found: Gathered) -> None:
    """Runs by number, their ACC and signals in tables of a few runs each, then the correlations of each data set."""
    for number, row in enumerate(found.rows, 1):
        out.print(f"{number}: {row.path} ({row.recipe}, seed {row.seed})", soft_wrap=True)
    rows = {name: [row.signals.get(name) for row in found.rows] for name in found.names}
    numbers = [str(number) for number in range(1, len(found.rows) + 1)]
    accuracies = [row.acc for row in found.rows]
    scored = any(acc is not None for acc in accuracies)
    _side_by_side("run", numbers, {"ACC": accuracies, **rows} if scored else rows)
    correlations = [one for one in found.correlations if one.n]
    for data in dict.fromkeys(one.data for one in correlations):
        _correlations([one for one in correlations if one.data == data], data)
    out.print(NOTE if correlations else "No run has labels, so nothing tells what the signals are worth.")
    if found.without:
        tell(f"Warning: runs without signals are left out: {', '.join(map(str, found.without))}")


def _correlations(here: list[Correlation], data: str) -> None:
    recipes = list(dict.fromkeys(one.recipe for one in here))
    cells = {(one.signal, one.recipe): f"{one.shown} (n = {one.n})" for one in here}
    table = Table("ρ with ACC", *recipes, title=data)
    for name in dict.fromkeys(one.signal for one in here):
        table.add_row(name, *(cells.get((name, recipe), "–") for recipe in recipes))
    out.print(table)


def written(path: Path | None) -> None:
    """One line on a file that was written."""
    if path is not None:
        out.print(f"Written: {path}", soft_wrap=True)


def _columns(title: str, first: str, numbers: list[str], rows: dict[str, Any]) -> None:
    if not rows:
        out.print(f"{title}: none.")
        return
    table = Table(Column(first, overflow="fold"), *numbers, title=title)
    for name, values in rows.items():
        table.add_row(name, *("–" if value is None else str(value) for value in values))
    out.print(table)


def _recipe(result: SeedsResult) -> str:
    return str(next((run.summary["recipe"] for run in result.runs.values()), result.path))


def _label(name: str) -> str:
    return LABELS.get(name, name.upper())


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
