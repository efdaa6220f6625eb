"""Plots of a finished run, written atomically as PNG files. matplotlib without pyplot: nothing global, no window."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from imcswav.clusterers import Array
from imcswav.evaluate import Assigned
from imcswav.files import write_atomically
from imcswav.metrics.acc import contingency, match
from imcswav.results.logged import by_scale, read_rows

LARGEST = 24.0
"""Inches a side of a plot, however many classes there are."""
PANELS = 4
"""Panels of curves in a row."""
TICKS = 60
"""More rows or columns than this are not all named."""
ROWS, COLUMNS = 30, 16
"""Clusters and images a cluster in the gallery."""


def plot_confusion(path: Path, labels_N: Array, clusters_N: Array, clusters: int, names: Sequence[str]) -> None:
    """Shares of each label (rows) in the clusters (columns, put beside the label that matching gave them).

    Without ``names`` labels are any integers, and only those that occur have a row.
    """
    if not names:
        values, labels_N = np.unique(labels_N, return_inverse=True)
        names = [str(value) for value in values]
    table = contingency(labels_N, clusters_N, len(names), clusters)
    pairs = match(table)
    matched = [column for _, column in sorted(pairs)]
    order = matched + [column for column in range(clusters) if column not in matched]
    shares = table[:, order] / np.maximum(table.sum(1, keepdims=True), 1)
    width, height = max(4.0, 0.5 * clusters + 2), max(3.5, 0.45 * len(names) + 1.5)
    figure, axes = figure_of(min(width, LARGEST), min(height, LARGEST))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    columns, rows = (range(0, count, 1 + count // TICKS) for count in (clusters, len(names)))
    axes.set_xticks(columns, [str(order[column]) for column in columns])
    axes.set_yticks(rows, [names[row] for row in rows], parse_math=False)  # "$" in a folder's name is a dollar
    axes.set_xlabel("cluster")
    axes.set_ylabel("label")
    if clusters <= 20:
        for row, column in np.ndindex(*shares.shape):
            if shares[row, column] >= 0.005:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{shares[row, column]:.0%}", ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(image, label="share of the label's images")
    write_figure(figure, path)


def plot_curves(path: Path, metrics: Path) -> None:
    """Losses, what else the parts log, and scores over steps, from ``metrics.jsonl``; each on a scale of its own."""
    rows = read_rows(metrics)
    groups = by_scale(rows) or {"losses": []}
    columns = min(len(groups), PANELS)
    height = -(-len(groups) // columns)
    figure, all_axes = figure_of(5.0 * columns, 3.5 * height, columns, height)
    flat = np.atleast_1d(all_axes).ravel()
    for axes in flat[len(groups) :]:
        axes.remove()
    for (title, group), axes in zip(groups.items(), flat, strict=False):
        for name in group:
            points = [(row["step"], row[name]) for row in rows if name in row]
            marker = "o" if len(points) < 30 else None
            axes.plot(*zip(*points, strict=True), label=name.removeprefix("eval/"), marker=marker, markersize=3)
        axes.set_xlabel("step")
        axes.set_title(title, fontsize=9)
        if group:
            axes.legend(fontsize=8)
    write_figure(figure, path)


def plot_compared(path: Path, metrics: Mapping[str, Path]) -> None:
    """A panel for the loss and for each score, with a line a run; ``metrics`` has ``metrics.jsonl`` by run."""
    runs = {name: read_rows(file) for name, file in metrics.items()}
    scores = {key for rows in runs.values() for row in rows for key in row if key.startswith("eval/")}
    panels = ["loss", *sorted(scores)]
    columns = min(len(panels), 3)
    height = -(-len(panels) // columns)
    figure, all_axes = figure_of(5.0 * columns, 3.2 * height + 0.25 * len(runs), columns, height)
    flat = np.atleast_1d(all_axes).ravel()
    for panel, axes in zip(panels, flat, strict=False):
        for name, rows in runs.items():
            points = [(row["step"], row[panel]) for row in rows if panel in row]
            axes.plot(*(zip(*points, strict=True) if points else ([], [])), label=name, marker="o", markersize=2)
        axes.set_xlabel("step")
        axes.set_title(panel.removeprefix("eval/"))
    _finish_panels(figure, flat, len(panels))
    write_figure(figure, path, new=True)


Points = Sequence[tuple[float, float | None]]


def plot_points(path: Path, panels: Mapping[str, Mapping[str, Points]], below: str) -> None:
    """A panel a name with a colour a group; points are (up, along), those without ``along`` are left out.

    ``below`` is what the horizontal axis shows.
    """
    columns = min(len(panels), 3)
    height = -(-len(panels) // columns)
    figure, all_axes = figure_of(4.0 * columns, 3.2 * height + 0.6, columns, height)
    flat = np.atleast_1d(all_axes).ravel()
    for (name, groups), axes in zip(panels.items(), flat, strict=False):
        for group, points in groups.items():
            known = [(along, up) for up, along in points if along is not None]
            axes.scatter([x for x, _ in known], [y for _, y in known], label=group, s=14)
        axes.set_xlabel(below)
        axes.set_title(name, parse_math=False)
    _finish_panels(figure, flat, len(panels))
    write_figure(figure, path, new=True)


def _finish_panels(figure: Any, flat: Any, used: int) -> None:
    """Take away the axes that no panel needed, and put one legend for all below; names aren't formulas."""
    for axes in flat[used:]:
        axes.remove()
    handles = [*flat[0].lines, *flat[0].collections]  # matplotlib's own list lacks names that begin with "_"
    labels = [handle.get_label() for handle in handles]
    legend = figure.legend(handles, labels, loc="outside lower center", fontsize=7)
    for text in legend.get_texts():
        text.set_parse_math(False)


def plot_clusters(path: Path, assigned: Assigned, clusters: int) -> None:
    """A row a cluster: its size and its most confident images; of many clusters the largest."""
    assert assigned.probabilities is not None
    confidence_N, clusters_N = assigned.probabilities.max(1), assigned.clusters
    sizes_K = np.bincount(clusters_N, minlength=clusters)
    shown = np.sort(np.argsort(-sizes_K, kind="stable")[:ROWS])
    side = assigned.split.images.shape[-1]
    strips = np.full((len(shown), side, COLUMNS * (side + 1), 3), 255, dtype=np.uint8)
    for row, cluster in enumerate(shown):
        members = np.flatnonzero(clusters_N == cluster)
        best = members[np.argsort(-confidence_N[members], kind="stable")[:COLUMNS]]
        for column, image in enumerate(best):
            start = column * (side + 1)
            strips[row, :, start : start + side] = _rgb(assigned.split.images[image])
    figure, all_axes = figure_of(8.0, max(1.2, 0.62 * len(shown)), rows=len(shown))
    for axes, cluster, strip in zip(np.atleast_1d(all_axes), shown, strips, strict=True):
        axes.imshow(strip)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_frame_on(False)
        axes.set_ylabel(f"{cluster}\n({sizes_K[cluster]})", rotation=0, ha="right", va="center", fontsize=8)
    write_figure(figure, path)


def _rgb(image_CHW: Tensor) -> Array:
    """An image as (H, W, 3), whatever its channels: other numbers than 3 show the first."""
    image_CHW = image_CHW if len(image_CHW) == 3 else image_CHW[:1].expand(3, -1, -1)
    return image_CHW.permute(1, 2, 0).cpu().numpy()


def figure_of(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Any, Any]:
    """A figure of so many inches, and its axes: one, or an array of them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def write_figure(figure: Any, path: Path, *, new: bool = False) -> None:
    """Write a figure as PNG, atomically; ``new`` as of ``write_atomically``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font lacks, a warning for each sign
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120, format="png"), new=new)
