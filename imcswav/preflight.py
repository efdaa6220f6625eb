"""`imcswav check`: everything that can be known before a run, with file and line, and what a run costs.

``run`` makes the same checks first (imcswav/check.py), but takes no step on trial: it is about to take real ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imcswav.check import check_run
from imcswav.cost import Cost, estimate
from imcswav.errors import Problem, RecipeError
from imcswav.recipe.files import load_partly, placed
from imcswav.recipe.merge import Overrides
from imcswav.trial import Trial, try_steps


@dataclass(frozen=True)
class Preflight:
    """What was found; ``cost`` where nothing was wrong before it, ``trial`` where steps were asked for too."""

    name: str
    errors: list[Problem]
    warnings: list[Problem]
    cost: Cost | None = None
    trial: Trial | None = None

    def table(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def preflight(
    source: str | Path | Mapping[str, Any], overrides: Overrides = (), out: str | Path | None = None, steps: bool = True
) -> Preflight:
    """Check a recipe as ``load_recipe`` takes it; ``out`` is the run folder to be, ``steps``: time some.

    Writes nothing. Raises RecipeError where there are no settings to check: no such file, no TOML.
    """
    loaded = load_partly(source, overrides)
    found, recipe = list(loaded.problems), loaded.recipe
    if recipe is not None:
        found += placed(check_run(recipe, out=out, wrong=loaded.wrong), source, overrides)
    cost = trial = None
    if recipe is not None and not _errors(found):  # a learner with mistakes fails for reasons told already
        try:
            cost = estimate(recipe)
        except RecipeError as error:
            found += placed(error.problems, source, overrides)
        if cost is not None and cost.steps and steps:
            trial, problems = try_steps(recipe, cost)
            found += placed(problems, source, overrides)
    warnings = [problem for problem in found if problem.severity == "warning"]
    return Preflight(loaded.name, _errors(found), warnings, cost, trial)


def _errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]
