"""``python -m imcswav_fewshot SOURCE``: episodes from features, methods side by side."""

from __future__ import annotations

import sys
from typing import Annotated

import torch
import typer

from imcswav.errors import ImcswavError
from imcswav_fewshot.episodes import draw_episodes
from imcswav_fewshot.evaluate import BASELINE, accuracies, interval
from imcswav_fewshot.sources import Source, read, split_classes

Cells = dict[str, dict[str, list[torch.Tensor]]]
"""Method → column → accuracy of each episode, a tensor a seed."""


def _numbers(text: str) -> list[int]:
    """ "0-2,5" as 0, 1, 2, 5."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        if not low.isdecimal() or not (high or low).isdecimal():
            raise ImcswavError(f"'{text}' is no list of whole numbers; write them as 0-2,5.")
        if int(high or low) < int(low):
            raise ImcswavError(f"'{part}' counts down; write {high}-{low}.")
        numbers += range(int(low), int(high or low) + 1)
    return numbers


def _some(option: str, text: str) -> list[int]:
    numbers = _numbers(text)
    if not numbers:
        raise ImcswavError(f"{option} names no number; write them as 0-2,5.")
    return numbers


def main(
    source: Annotated[
        str, typer.Argument(help="Run folder, .npz with features and labels, or a recipe: the pixels of its data.")
    ],
    novel: Annotated[
        str, typer.Option(help="Classes that tasks are drawn from, as 5-9; the others' mean is taken off.")
    ] = "",
    ways: Annotated[int, typer.Option(help="Classes of a task.")] = 5,
    shots: Annotated[str, typer.Option(help="Labelled images of a class; several as 1,5.")] = "1,5",
    queries: Annotated[int, typer.Option(help="Images of a class to be labelled.")] = 15,
    episodes: Annotated[int, typer.Option(help="Tasks of a seed.")] = 200,
    seeds: Annotated[str, typer.Option(help="Of the draws, as 0-4.")] = "0-4",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change of the recipe, as data.size=8.")] = None,
) -> None:
    """Few-shot accuracy of clustering with a few labels, and of the nearest prototype, on the same tasks.

    A row a method, in per cent: mean ± standard deviation over the seeds of the accuracy over episodes, in brackets
    half the 95 % interval over the episodes of a seed (the seeds' mean); then what it gains on the nearest prototype,
    paired, likewise.
    """
    chosen = _numbers(novel), ways, _some("--shots", shots), queries, episodes, _some("--seeds", seeds)
    for line in table(measure(read(source, set_ or ()), *chosen)):
        print(line)


def measure(
    source: Source, novel: list[int], ways: int, shots: list[int], queries: int, episodes: int, seeds: list[int]
) -> Cells:
    """Every method on the same episodes."""
    classes, base_mean_F = split_classes(source, novel)
    cells: Cells = {}
    for shot in shots:
        for seed in seeds:
            drawn = draw_episodes(
                source.labels_N, classes, ways=ways, shots=shot, queries=queries, episodes=episodes, seed=seed
            )
            for name, values_E in accuracies(source.features_NF, drawn, base_mean_F=base_mean_F).items():
                cells.setdefault(name, {}).setdefault(f"{shot}-shot", []).append(values_E)
    return cells


def table(cells: Cells) -> list[str]:
    """Markdown."""
    columns = list(cells[BASELINE])
    lines = [
        "| method | " + " | ".join(f"{column} | gain" for column in columns) + " |",
        "|---" * (1 + 2 * len(columns)) + "|",
    ]
    for name, row in cells.items():
        words = []
        for column in columns:
            gains = [mine - base for mine, base in zip(row[column], cells[BASELINE][column], strict=True)]
            words += [_cell(row[column]), "" if name == BASELINE else _cell(gains, "+")]
        lines.append(f"| {name} | {' | '.join(words)} |")
    return lines


def _cell(per_seed: list[torch.Tensor], sign: str = "") -> str:
    found = [interval(values_E) for values_E in per_seed]
    means = torch.tensor([100 * one.mean for one in found])
    spread = f" ± {means.std():.1f}" if len(found) > 1 else ""
    return f"{means.mean():{sign}.1f}{spread} ({100 * sum(one.half for one in found) / len(found):.1f})"


def run() -> None:
    """The command; a mistake is one sentence and exit code 2."""
    try:
        typer.run(main)
    except ImcswavError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run()
