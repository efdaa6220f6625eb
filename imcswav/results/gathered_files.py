"""The gathered signals as CSV, Markdown and a plot."""

from __future__ import annotations

from pathlib import Path

from imcswav.files import refuse_existing, write_atomically, write_csv
from imcswav.results.gathered import Gathered
from imcswav.results.plots import plot_points

NOTE = (
    "ρ: Spearman's rank correlation with ACC over the runs of a group, without regard to direction: a good loss has a "
    "negative one. It is analysis after the fact and chose no run; with few runs it is mostly chance."
)


def write_files(found: Gathered, csv: Path | None, plot: Path | None, markdown: Path | None) -> None:
    """Write each of the files that is wanted; nothing is overwritten (RunError)."""
    for path in (csv, plot, markdown):
        refuse_existing(path)
    if csv is not None:
        header = ("run", "data", "recipe", "seed", "acc", *found.names)
        rows = [
            (row.path, row.data, row.recipe, row.seed, row.acc, *(row.signals.get(name) for name in found.names))
            for row in found.rows
        ]
        write_csv(csv, header, rows, new=True)
    if plot is not None:
        panels = {
            name: {
                group: [(row.signals[name], row.acc) for row in found.rows if row.data == group and name in row.signals]
                for group in dict.fromkeys(row.data for row in found.rows)
            }
            for name in found.names
        }
        plot_points(plot, panels, "ACC")
    if markdown is not None:
        write_atomically(markdown, lambda path: path.write_text(as_markdown(found), encoding="utf-8"), new=True)


def as_markdown(found: Gathered) -> str:
    """Both tables, and what the second one means."""
    runs = _table(
        ["run", "recipe", "seed", "ACC", *found.names],
        [
            [
                str(row.path),
                row.recipe,
                str(row.seed),
                shown(row.acc),
                *(shown(row.signals.get(n)) for n in found.names),
            ]
            for row in found.rows
        ],
    )
    correlations = [[one.data, one.recipe, one.signal, str(one.n), one.shown] for one in found.correlations]
    orders = _table(["data", "recipe", "signal", "n", "ρ with ACC"], correlations)
    return f"{runs}\n{NOTE}\n\n{orders}"


def shown(value: float | None) -> str:
    """Four digits behind the point."""
    return "–" if value is None else f"{value:.4f}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
