"""The choice of K as a table, a CSV file and a plot."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from imcswav.console import out
from imcswav.files import write_csv
from imcswav.k_choice import KChoice
from imcswav.results.plots import figure_of, write_figure

MARK = "⟵"
ROWS = 25
"""Rows of the table; of a wider range only those near what is marked and every few are shown."""


def table(choice: KChoice) -> None:
    """A row a K with each signal, its best marked, then the recommendation."""
    names = [_label(name) for name in choice.curves]
    shown = Table("K", *names, "score", title=f"Clusters in {choice.images:,} images: signals above no clusters")
    for place in _places(choice):
        k = choice.counts[place]
        cells = [_cell(curve.excess_C[place], curve.k == k) for curve in choice.curves.values()]
        shown.add_row(str(k), *cells, _cell(choice.score_C[place], choice.k == k))
    out.print(shown)
    out.print(choice.sentence)


def write_table(choice: KChoice, path: Path) -> None:
    """A row a K: each signal, its standard deviation over halves, the same without clusters, and the score."""
    kinds = ("", "_std", "_without_clusters")
    header = ["clusters", *(f"{name}{kind}" for name in choice.curves for kind in kinds), "score", "recommended"]
    columns = [column for curve in choice.curves.values() for column in (curve.mean_C, curve.std_C, curve.null_C)]
    rows = [
        [k, *(float(column[place]) for column in columns), float(choice.score_C[place]), int(k == choice.k)]
        for place, k in enumerate(choice.counts)
    ]
    write_csv(path, header, rows, new=True)


def plot(choice: KChoice, path: Path) -> None:
    """A panel a signal (solid; dashed: images without clusters; dotted: its own K), then the score with the spread."""
    figure, axes = figure_of(12.0, 6.0, 3, 2)
    panels = axes.ravel()
    for (name, curve), panel in zip(choice.curves.items(), panels, strict=False):
        panel.plot(choice.counts, curve.mean_C, label="images")
        panel.fill_between(choice.counts, curve.mean_C - curve.std_C, curve.mean_C + curve.std_C, alpha=0.25)
        panel.plot(choice.counts, curve.null_C, "--", color="C7", label="without clusters")
        panel.axvline(curve.k, linestyle=":", color="C0")
        says = f"says {curve.k}" if curve.counts else "no clear say"
        panel.set_title(f"{_label(name)}: {says}", fontsize=10)
    last = panels[len(choice.curves)]
    last.plot(choice.counts, choice.score_C, color="C3", label="mean of signals")
    last.axvspan(*choice.spread, alpha=0.2, color="C3")
    last.axvline(choice.k, color="C3")
    low, high = choice.spread
    last.set_title(f"K = {choice.k}, spread {low}–{high}" if choice.clear else "no clear K", fontsize=10)
    for panel in panels:
        panel.set_xlabel("clusters")
    panels[0].legend(fontsize=8)
    write_figure(figure, path, new=True)


def _places(choice: KChoice) -> list[int]:
    """Rows to show: what is marked with its neighbours, and of the others so many that the table fits a screen."""
    marked = {choice.k, *(curve.k for curve in choice.curves.values())}
    step = 1 + len(choice.counts) // ROWS
    return [
        place for place, k in enumerate(choice.counts) if place % step == 0 or k in marked or abs(k - choice.k) <= 1
    ]


def _cell(value: float, marked: bool) -> str:
    return f"{value:.2f} {MARK if marked else ' '}"


def _label(name: str) -> str:
    return name.replace("_", " ")
