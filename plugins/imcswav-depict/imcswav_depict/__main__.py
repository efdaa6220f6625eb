"""``python -m imcswav_depict RECIPE``: seeds of a recipe, beside their own initialisation and k-means on pixels."""

from __future__ import annotations

import sys
from statistics import mean, stdev
from typing import Annotated, NamedTuple

import typer

from imcswav import checkpoint
from imcswav.api import run
from imcswav.clusterers import Array
from imcswav.errors import ImcswavError, RunError
from imcswav.metrics.acc import accuracy
from imcswav.protocol import training_data
from imcswav.recipe.seed_numbers import seed_numbers
from imcswav.runs import RunFolder


class Row(NamedTuple):
    """ACC of one seed, labels used for nothing else."""

    seed: int
    pixels: float
    """k-means on the pixels, 10 starts."""
    initial: float
    """The clusters that the second stage began with, from the last checkpoint."""
    final: float
    began: int
    """The epoch in which it began."""
    cpu_seconds: float


def initial_clusters(run: RunFolder) -> tuple[Array, int]:
    """The clusters (N,) of the training images that a run's second stage began with, and its first epoch.

    Raises RunError where it never began, or the run is of another learner.
    """
    state = checkpoint.load_latest(run.checkpoints)["learner"]
    labels_N = state.get("stages.initial")
    if labels_N is None or not len(labels_N):
        raise RunError(f"The run {run.path} holds no clusters of depict's second stage; train it for longer.")
    return labels_N.numpy(), int(state["stages.began"])


def measured(run: RunFolder) -> Row:
    """The row of a finished run; raises RunError where its summary scores other clusters than those of the learner."""
    recipe, summary = run.recipe(), run.summary()
    data = training_data(recipe)
    labels = data.train.labels
    if labels is None or (labels < 0).any() or data.test is not None or recipe.clusterer is not None:
        raise RunError(
            f"The run {run.path} can't be compared with its initialisation: that needs labels of all images, no "
            f'test split (evaluation.train_on = "train+test" joins them), and no clusterer.'
        )
    initial_N, began = initial_clusters(run)
    before = accuracy(labels.cpu().numpy(), initial_N)
    return Row(summary["seed"], summary["kmeans_acc"], before, summary["acc"], began, summary["cpu_seconds"])


def main(
    recipe: Annotated[str, typer.Argument(help="A recipe with the learner depict.")],
    seeds: Annotated[str, typer.Option(help="As 0-4, or 0,2.")] = "0-4",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change of the recipe, as trainer.epochs=300.")
    ] = None,
) -> None:
    """Train seeds of a recipe and print ACC before and after the second stage, per cent."""
    try:
        numbers = seed_numbers(seeds)
    except ValueError as error:
        raise ImcswavError(f"--seeds: {error}.") from error
    rows = []
    for seed in numbers:
        result = run(recipe, [*(set_ or ()), f"seed={seed}"])
        rows.append(measured(RunFolder.open(result.path)))
    for line in table(rows):
        print(line)


def table(rows: list[Row]) -> list[str]:
    """Markdown: a row a seed, then means and standard deviations."""
    lines = ["| seed | k-means on pixels | own initialisation | depict | gain | second stage from epoch | CPU s |"]
    lines.append("|---" * 7 + "|")
    for row in rows:
        figures = " | ".join(f"{100 * value:.1f}" for value in (row.pixels, row.initial, row.final))
        gain = 100 * (row.final - row.initial)
        lines.append(f"| {row.seed} | {figures} | {gain:+.1f} | {row.began} | {row.cpu_seconds:.0f} |")
    columns = [[100 * row[place] for row in rows] for place in (1, 2, 3)]
    gains = [100 * (row.final - row.initial) for row in rows]
    cells = [*(_spread(column) for column in columns), _spread(gains, "+")]
    better = sum(gain > 0 for gain in gains)
    return [*lines, f"| mean | {' | '.join(cells)} | better in {better} of {len(rows)} | |"]


def _spread(values: list[float], sign: str = "") -> str:
    return f"{mean(values):{sign}.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def start() -> None:
    """The command; a mistake is one sentence and exit code 2."""
    try:
        typer.run(main)
    except ImcswavError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    start()
