"""Rungs of a ladder: their finished runs, what each changes of the rung below, and what that brought."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imcswav.api import RunResult
from imcswav.recipe import Recipe
from imcswav.recipe.flat import flat
from imcswav.results.comparison import SHAPE
from imcswav.results.series import SeedsResult, Spread
from imcswav.runs import figures, within

GAIN = "acc"
ERRORS = 2
FEWEST = 3
"""Seeds without which a gain has no verdict: of two, a change that does nothing passes about three times in ten."""
RULE = (
    f"Gain: mean difference in ACC to the rung below, the one it extends, paired over the seeds of both, ± its "
    f"standard error (sample "
    f"standard deviation of the differences / sqrt(n)). It helps where the gain is more than {ERRORS} standard errors; "
    f"no: less than -{ERRORS}; else, and with fewer than {FEWEST} seeds, not shown."
)
PROTOCOL = ("protocol", "scored_on", "bn_statistics")
"""What the summaries of rungs have to agree in, for their figures to be compared."""
SAME_IMAGES = (*SHAPE, "data.placement")
"""Settings of the data in which rungs may differ."""
NO_CHANGE = ("name", "expected")
"""Settings, by dotted path, that change nothing in a run."""


@dataclass(frozen=True)
class Gain:
    """Mean difference in accuracy to the rung below, over the ``seeds`` of both, and its standard error, in [-1, 1]."""

    mean: float
    error: float
    seeds: tuple[int, ...]

    @classmethod
    def between(cls, below: Mapping[int, float], here: Mapping[int, float]) -> Gain | None:
        """Of figures by seed; None where fewer than two seeds are in both."""
        seeds = tuple(seed for seed in here if seed in below)
        if len(seeds) < 2:
            return None
        differences = [here[seed] - below[seed] for seed in seeds]
        error = statistics.stdev(differences) / math.sqrt(len(seeds))
        return cls(statistics.fmean(differences), error, seeds)

    @property
    def helps(self) -> Literal["yes", "no", "not shown"]:
        """By the ``RULE`` of this module."""
        if len(self.seeds) < FEWEST or abs(self.mean) <= ERRORS * self.error:
            return "not shown"
        return "yes" if self.mean > 0 else "no"


@dataclass(frozen=True)
class Rung:
    """A recipe of a ladder, and its finished runs by seed, in a folder of seeds."""

    name: str
    path: Path
    runs: dict[int, RunResult]
    below: str | None
    """Name of the rung that it extends, else of the one before it; None of the lowest."""
    changes: dict[str, tuple[Any, Any]]
    """By dotted path: the value in the rung below and the value here, None where there is no such setting."""
    gain: Gain | None
    """None of the lowest rung, where one of the two failed, and where their runs can't be compared."""
    failure: str | None
    """Why its runs came to an end before all were finished."""

    @property
    def scores(self) -> dict[str, Spread]:
        """Mean and deviation of each figure that every run has."""
        return SeedsResult(self.path, self.runs).scores

    @property
    def metrics(self) -> list[str]:
        """Names of the recipe's own metrics among the scores."""
        wanted = {name: None for run in self.runs.values() for name in run.summary["metrics"]}
        return [name for name in wanted if name in self.scores]

    @property
    def helps(self) -> str | None:
        """Whether it is shown to be better than the rung below: "yes", "no" or "not shown"; None of the lowest."""
        if self.below is None:
            return None
        return "not shown" if self.gain is None else self.gain.helps

    @property
    def protocol(self) -> str | None:
        """What was trained on and what was scored."""
        return ", ".join(sorted({run.summary["protocol"] for run in self.runs.values()})) or None

    def mean(self, fact: str) -> float | None:
        """Mean of a number in the summaries, such as "seconds"."""
        return statistics.fmean(run.summary[fact] for run in self.runs.values()) if self.runs else None

    @property
    def seconds_to_acc(self) -> list[float]:
        """Of the runs that reached their recipe's ``evaluation.time_to_acc``, the seconds of training up to it."""
        found = (run.summary.get("seconds_to_acc") for run in self.runs.values())
        return [seconds for seconds in found if seconds is not None]


@dataclass(frozen=True)
class LadderResult:
    """The runs of a ladder, their folder, and what each rung brought, from the lowest up."""

    path: Path
    name: str
    rungs: list[Rung]

    @property
    def failed(self) -> list[Rung]:
        """Rungs whose training failed."""
        return [rung for rung in self.rungs if rung.failure is not None]

    @property
    def metrics(self) -> list[str]:
        """Names of the recipes' own metrics that were scored."""
        return list(dict.fromkeys(name for rung in self.rungs for name in rung.metrics))

    @property
    def times_to_acc(self) -> list[float]:
        """The accuracies whose first reaching is timed, ascending."""
        stated = (run.summary.get("time_to_acc") for rung in self.rungs for run in rung.runs.values())
        return sorted({acc for acc in stated if acc is not None})

    @property
    def protocol(self) -> str | None:
        """What was trained on and what was scored."""
        return ", ".join(dict.fromkeys(rung.protocol for rung in self.rungs if rung.protocol)) or None


def gain_over(below: Rung, runs: Mapping[int, RunResult], changes: Iterable[str] = ()) -> Gain | None:
    """Of finished runs over a rung; None where they were trained or scored on other images, or have no labels.

    ``changes``: dotted paths of the settings in which the two differ. Batch-norm statistics of other images are another
    protocol.
    """
    protocols = {tuple(run.summary[key] for key in PROTOCOL) for run in (*below.runs.values(), *runs.values())}
    if len(protocols) > 1 or any(within(path, ("data",)) and not within(path, SAME_IMAGES) for path in changes):
        return None
    return Gain.between(_accuracies(below.runs), _accuracies(runs))


def changes_between(below: Recipe, here: Recipe) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, by dotted path: the value below, and the value here; None where there is none."""
    old, new = flat(below.tables()), flat(here.tables())
    paths = [path for path in dict.fromkeys([*old, *new]) if not within(path, NO_CHANGE)]
    return {path: (old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)}


def _accuracies(runs: Mapping[int, RunResult]) -> dict[int, float]:
    found = {seed: figures(run.summary).get(GAIN) for seed, run in runs.items()}
    return {seed: value for seed, value in found.items() if value is not None}
