"""What a finished run leaves behind: model, assignments, plots, summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imcswav.build import runtime_summary
from imcswav.clusterers import Array
from imcswav.evaluate import Assessment, Assigned, assess, baselines, evaluation_model
from imcswav.files import write_atomically
from imcswav.metrics.acc import contingency, match

if TYPE_CHECKING:
    from imcswav.trainer import Trainer

LARGEST = 24.0
"""Inches a side of a plot, however many classes there are."""
TICKS = 60
"""More rows or columns than this are not all named."""


def finish(trainer: Trainer) -> dict[str, Any]:
    """Evaluate the last epoch's network and write everything; returns the summary."""
    recipe, run = trainer.recipe, trainer.run
    with evaluation_model(trainer) as model:
        assessment = assess(model, trainer.data, recipe, fit_clusterer=True)
        model.save(run.model)
    summary = summarise(trainer, assessment)
    write_assignments(run.path / "assignments.csv", assessment, trainer.data.class_names)
    scored = assessment.scored
    if scored.labels is not None and scored.probabilities is not None:
        plot_confusion(
            run.path / "confusion.png", scored.labels, scored.clusters, recipe.clusters, trainer.data.class_names
        )
    plot_curves(run.path / "curves.png", run.path / "metrics.jsonl")
    run.write_json("summary.json", summary)
    return summary


def summarise(trainer: Trainer, assessment: Assessment) -> dict[str, Any]:
    """The content of ``summary.json``; scores are null where there are no labels."""
    recipe = trainer.recipe
    names = [settings.owner.name for settings in recipe.evaluation.metrics]
    scores = {name: assessment.scores.get(name) for name in names}
    reference = {"kmeans_acc": None, "features_kmeans_acc": None} | baselines(assessment, recipe)
    used = len(np.unique(assessment.scored.clusters)) if assessment.scored.probabilities is not None else None
    return {
        "recipe": recipe.name,
        **{key: None if value is None else round(value, 6) for key, value in {**scores, **reference}.items()},
        "clusters": recipe.clusters,
        "clusters_used": used,
        **runtime_summary(trainer),
        "seed": recipe.seed,
        "bn_statistics": recipe.predict.bn_statistics,
        "predict_views": recipe.predict.views,
        "trained_on": f"train ({len(assessment.train.split)} images)",
        "scored_on": f"{'test' if assessment.test else 'train'} ({len(assessment.scored.split)} images)",
        "device": str(trainer.device),
        "precision": trainer.precision,
        "run": str(trainer.run.path),
    }


def write_assignments(path: Path, assessment: Assessment, class_names: Sequence[str]) -> None:
    """``assignments.csv``: a row an image of every split."""
    header = ("image", "split", "cluster", "confidence", "label")
    rows: list[Sequence[Any]] = []
    for name, assigned in (("train", assessment.train), ("test", assessment.test)):
        if assigned is not None and assigned.probabilities is not None:
            rows += assignment_rows(assigned, name, class_names)
    write_csv(path, header, rows)


def assignment_rows(assigned: Assigned, split: str, class_names: Sequence[str]) -> Iterable[Sequence[Any]]:
    """(image, split, cluster, confidence, label) of each image; the label is empty where unknown."""
    assert assigned.probabilities is not None
    clusters, confidence, labels = assigned.clusters, assigned.probabilities.max(1), assigned.labels
    for i, name in enumerate(assigned.split.names):
        label = "" if labels is None else class_names[labels[i]] if class_names else labels[i]
        yield name, split, int(clusters[i]), f"{confidence[i]:.4f}", label


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file atomically."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)

    write_atomically(path, write)


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
    figure, axes = _figure(min(width, LARGEST), min(height, LARGEST))
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
    _write_figure(figure, path)


def plot_curves(path: Path, metrics: Path) -> None:
    """Losses and scores over steps, from ``metrics.jsonl``."""
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()] if metrics.is_file() else []
    names = sorted({key for row in rows for key in row} - {"step", "epoch", "lr", "seconds", "images_per_second"})
    groups = [[name for name in names if not name.startswith("eval/")], [n for n in names if n.startswith("eval/")]]
    groups = [group for group in groups if group] or [[]]
    figure, all_axes = _figure(6.0 * len(groups), 4.0, len(groups))
    for group, axes in zip(groups, np.atleast_1d(all_axes), strict=True):
        for name in group:
            points = [(row["step"], row[name]) for row in rows if name in row]
            marker = "o" if len(points) < 30 else None
            axes.plot(*zip(*points, strict=True), label=name.removeprefix("eval/"), marker=marker, markersize=3)
        axes.set_xlabel("step")
        if group:
            axes.legend(fontsize=8)
    _write_figure(figure, path)


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: nothing global, no window
    return figure, figure.subplots(1, columns)


def _write_figure(figure: Any, path: Path) -> None:
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120, format="png"))
