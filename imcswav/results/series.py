"""What a folder of several seeds holds: its runs, their mean and deviation, and the recipe they are of."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imcswav.api import RunResult
from imcswav.errors import RunError
from imcswav.recipe import Recipe
from imcswav.recipe.files import load_recipe
from imcswav.recipe.flat import flat
from imcswav.results.kept import Kept
from imcswav.runs import PLACE, RunFolder, figures, same_but_for_place, within

FILE = "seeds.json"
DIFFERENCES = 3
"""Settings that a message names."""
DEVIATION = "sample standard deviation (divisor n - 1)"


@dataclass(frozen=True)
class Spread:
    """Mean of ``n`` runs' figures in [0, 1] and their sample standard deviation, None of a single run."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value or more."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def __str__(self) -> str:
        """In percent: "97.8 ± 0.5 (n = 5)"."""
        beside = "" if self.std is None else f" ± {100 * self.std:.1f}"
        return f"{100 * self.mean:.1f}{beside} (n = {self.n})"


@dataclass(frozen=True)
class SeedsResult:
    """Finished runs of several seeds: their folder, the run of each seed, and the run kept where one was asked for.

    ``agreement`` has what each seed's clusters have in common with the others', by name of the signal.
    """

    path: Path
    runs: dict[int, RunResult]
    agreement: dict[int, dict[str, float]] = field(default_factory=dict)
    kept: Kept | None = None

    @property
    def signals(self) -> dict[int, dict[str, float]]:
        """What is known of each run without labels, by seed: the summary's signals and the agreement."""
        return {
            seed: {**run.summary.get("signals", {}), **self.agreement.get(seed, {})} for seed, run in self.runs.items()
        }

    @property
    def scores(self) -> dict[str, Spread]:
        """Mean and deviation of each figure that every run has."""
        found = [figures(run.summary) for run in self.runs.values()]
        columns = {name: [one.get(name) for one in found] for name in (found[0] if found else {})}
        return {
            name: Spread.of([value for value in values if value is not None])
            for name, values in columns.items()
            if None not in values
        }


def read(folder: Path) -> dict[str, Any]:
    """What ``seeds.json`` holds; raises RunError where there is none that can be read."""
    try:
        found: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if not {"seeds", "runs", "settings"} <= found.keys():
            raise ValueError("it is no list of runs")
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(
            f"{folder} holds no readable {FILE} ({error}); give the folder of a run with --seeds."
        ) from error
    return found


def is_series(folder: Path) -> bool:
    """Whether a folder holds several seeds rather than one run."""
    return (folder / FILE).is_file()


def finished_runs(folder: Path) -> dict[int, RunResult]:
    """The finished runs of a folder of seeds, by seed; none where no run has begun."""
    if not is_series(folder):
        return {}
    known = read(folder)
    paths = {seed: folder / known["runs"][str(seed)] for seed in known["seeds"] if finished(folder, known, seed)}
    return {seed: RunResult(path, RunFolder(path).summary()) for seed, path in paths.items()}


def of_recipe(folder: Path, recipe: Recipe) -> bool:
    """Whether the runs of a folder of seeds are of this recipe, but for its seed, and where and how loudly they run."""
    return same_but_for_place(_blind(load_recipe(read(folder)["settings"])), _blind(recipe.resolved()))


def finished(folder: Path, known: dict[str, Any], seed: int) -> bool:
    """Whether a seed's run is, by what ``read`` knows of the series."""
    return str(seed) in known["runs"] and RunFolder(folder / known["runs"][str(seed)]).finished


def difference(folder: Path, recipe: Recipe) -> str:
    """How a series' settings differ from a recipe's, a few of them: "trainer.epochs was 4"."""
    then, now = (flat(_blind(one).tables()) for one in (load_recipe(read(folder)["settings"]), recipe.resolved()))
    paths = [path for path in {**then, **now} if then.get(path) != now.get(path) and not within(path, PLACE)]
    told = ", ".join(f"{path} was {then.get(path, 'not there')}" for path in paths[:DIFFERENCES])
    return told + (f" and {len(paths) - DIFFERENCES} more" if len(paths) > DIFFERENCES else "")


def _blind(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"seed": 0})
