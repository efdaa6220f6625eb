"""The command: measures, prints tables, writes files, and fails when the fast step isn't the plain one's equal."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from imcswav.bench import report
from imcswav.bench.against import alternate, augmentation, losses
from imcswav.bench.clock import fair_threads
from imcswav.bench.equal import Difference, differences, raise_unequal
from imcswav.bench.measure import measure
from imcswav.bench.plot import plot_growth
from imcswav.bench.reference import check_comparable
from imcswav.bench.subject import EAGER, Subject, changed
from imcswav.bench.suite import suite
from imcswav.bench.tally import counted
from imcswav.bench.wall import from_images, whole_step
from imcswav.build import prepare_torch
from imcswav.check import check_data, check_recipe, raise_errors
from imcswav.console import out
from imcswav.data import Data
from imcswav.devices import pick_device
from imcswav.environment import environment
from imcswav.errors import ImcswavError
from imcswav.files import refuse_existing, write_atomically
from imcswav.recipe import Recipe
from imcswav.recipe.files import load_recipe

GOALS_OF = "imc-swav-cifar10"
"""The recipe that the goals were set for; others are measured without."""
CPU_BATCH = 32
"""Most images of a whole step on a CPU, where a batch of 256 would take a minute a step."""
WALL_ROUNDS, WALL_BATCHES = 3, 100
WIDTH = 160
"""Of tables that don't go to a terminal."""


def bench(
    source: str,
    changes: list[str],
    *,
    against: str | None = None,
    with_suite: bool = False,
    rounds: int = 9,
    batch: int | None = None,
    compiled: bool = False,
    json_file: Path | None = None,
    markdown_file: Path | None = None,
    plot_file: Path | None = None,
) -> dict[str, Any]:
    """Measure a recipe and print what was found; files are written before a difference is raised.

    Raises RecipeError and DataError for what can't be built, ImcswavError for a file that exists, when the loop can't
    stand for the recipe, or when both don't compute the same.
    """
    refuse_existing(json_file, markdown_file, plot_file)
    if plot_file is not None and not with_suite:
        raise ImcswavError("--plot draws the suite's growth: add --suite.")
    if against not in (None, "loop"):
        raise ImcswavError(f"There is no '{against}' to measure against; the only choice is --against loop.")
    recipe, data, device = _prepared(load_recipe(source, changes))
    if against:
        check_comparable(recipe, data.channels)
    small = changed(recipe, {"trainer.batch_size": batch or _batch(recipe, device)})
    raise_errors(recipe.name, check_data(small, data))
    full = recipe.trainer.batch_size
    if batch is None and small.trainer.batch_size < full:
        out.print(f"Whole steps have {small.trainer.batch_size} of the recipe's {full} images: --batch {full} for all.")
    found: dict[str, Any] = {
        "recipe": recipe.name,
        "command": shlex.join(["imcswav", *sys.argv[1:]]),
        "device": str(device),
        "machine": environment(recipe.seed),
    }
    unequal: list[Difference] = []
    with fair_threads(device):
        found["step"] = measure(small, data, device)
        _write_json(json_file, found, new=True)  # after each part: a limit on time must not lose what is known
        if against:
            unequal = differences(Subject(changed(recipe, EAGER), data, device))
            found["against"] = _contests(recipe, small, data, device, rounds, compiled)
            found["against"]["differences"] = [one.table() for one in unequal]
            _write_json(json_file, found)
        if with_suite:
            found["suite"] = suite(small, data, device)
            if plot_file is not None:
                plot_growth(plot_file, found["suite"]["growth"])
    _show(found)
    _write_json(json_file, found)
    _write(markdown_file, report.markdown(found), new=True)
    raise_unequal(unequal)
    return found


def _prepared(recipe: Recipe) -> tuple[Recipe, Data, torch.device]:
    raise_errors(recipe.name, check_recipe(recipe))
    if not recipe.learner.owner.trains:  # type: ignore[attr-defined]
        raise ImcswavError(f"{recipe.name} trains nothing, so it has no step to measure; take a recipe that does.")
    device = pick_device(recipe.trainer.device)
    prepare_torch(recipe)
    data = recipe.data.build()
    assert isinstance(data, Data)
    raise_errors(recipe.name, check_data(recipe, data))
    return recipe, data.to(device), device


def _batch(recipe: Recipe, device: torch.device) -> int:
    size = recipe.trainer.batch_size
    return min(size, CPU_BATCH) if device.type == "cpu" else size


def _contests(
    recipe: Recipe, small: Recipe, data: Data, device: torch.device, rounds: int, compiled: bool
) -> dict[str, Any]:
    """Losses and augmentation at the recipe's batch, whole steps at the small one."""
    subject = Subject(changed(recipe, EAGER), data, device)
    with fair_threads(torch.device("cpu")):  # the augmentation is compared on the CPU whatever the device
        crops = [augmentation(subject, way) for way in ((False, True) if compiled else (False,))]
        ratios = alternate(crops, rounds)
    whole = whole_step(small, data, device)  # first, for it makes torch forget what is compiled
    ratios += alternate([*losses(subject, compiled), whole], rounds)
    if device.type == "cuda":
        batches = min(WALL_BATCHES, len(data.train) // recipe.trainer.batch_size - 1)
        if batches > 0:  # the loop's first starts its workers
            images = from_images(recipe, data, device, os.cpu_count() or 1, batches)
            ratios += alternate([images], min(rounds, WALL_ROUNDS))
    counts = counted(small, data, device)
    if recipe.name != GOALS_OF:
        for row in (*ratios, *counts):
            row["goal"] = row["met"] = None
    return {"ratios": ratios, "counted": counts}


def _show(found: dict[str, Any]) -> None:
    screen = out if out.is_terminal else Console(width=WIDTH, highlight=False, markup=False, emoji=False)
    for sheet in report.sheets(found):
        table = Table(*sheet.header, title=sheet.title, title_justify="left")
        for row in sheet.rows:
            table.add_row(*row)
        screen.print(table)
    for note in found["step"]["notes"]:
        screen.print(note)


def _write_json(path: Path | None, found: dict[str, Any], *, new: bool = False) -> None:
    _write(path, json.dumps(found, indent=2) + "\n", new=new)


def _write(path: Path | None, text: str, *, new: bool = False) -> None:
    if path is not None:
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), new=new)
