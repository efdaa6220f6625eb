"""Whether a recipe gives the figures that its ``[expected]`` table names.

The rule, for each figure: the mean of our n runs may fall short of the expected mean by at most

    max(tolerance, 3 · std · sqrt(1 / runs + 1 / n))

where std, over that many runs, is the expected deviation: three standard deviations of the difference of two means, so
that a sound installation fails seldom, and never by less than ``tolerance``. Falling short by more is a failure; lying
above by more passes and is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from imcswav.api import with_data
from imcswav.errors import ImcswavError, Problem, RecipeError
from imcswav.recipe import Expected, Recipe
from imcswav.recipe.files import Overrides, load_recipe
from imcswav.results.seeds import SeedsResult, Spread, run_seeds
from imcswav.runs import RunFolder

FILE = "reproduction.json"
DEVIATIONS = 3
RULE = (
    f"A mean passes when it falls short by at most max(tolerance, {DEVIATIONS} · std · sqrt(1 / runs + 1 / n)), with "
    "std and runs those of the expected figure and n the runs made here."
)
ROUNDING = 1e-9


@dataclass(frozen=True)
class Verdict:
    """One figure beside what was expected, all in [0, 1]."""

    name: str
    expected: float
    std: float
    runs: int
    measured: Spread
    allowed: float
    outcome: Literal["pass", "pass (above)", "fail"]


@dataclass(frozen=True)
class Reproduction:
    """The runs, and a verdict on each expected figure."""

    seeds: SeedsResult
    verdicts: list[Verdict]
    changes: list[str]
    """Settings that were changed from the recipe's: its figures then are of something else."""

    @property
    def passed(self) -> bool:
        """Whether no figure fell short."""
        return all(verdict.outcome != "fail" for verdict in self.verdicts)


def reproduce(
    recipe: str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    seeds: str | Iterable[int] | None = None,
    out: str | Path | None = None,
    data: Any = None,
    warn: Callable[[Problem], object] | None = None,
    *,
    resume: bool = False,
    tell: Callable[[str], object] | None = None,
) -> Reproduction:
    """Run a recipe and compare its figures with its ``[expected]`` table; writes ``reproduction.json``.

    ``seeds`` default to those of the table, else to the recipe's own. Other arguments are ``run_seeds``'s. Raises
    RecipeError where nothing is expected, and what ``run_seeds`` raises.
    """
    loaded = load_recipe(recipe, with_data(overrides, data))
    expected = _expected(loaded)
    wanted = seeds if seeds is not None else expected.seeds or [loaded.seed]
    found = run_seeds(recipe, wanted, overrides, out, data, warn, resume=resume, tell=tell)
    if absent := sorted(expected.figures().keys() - found.scores.keys()):
        raise ImcswavError(
            f"The runs in {found.path} have no {' and no '.join(absent)} to compare: the data have no labels, or "
            f"nothing assigns clusters."
        )
    done = Reproduction(found, judge(expected, found.scores), _changes(overrides))
    RunFolder(found.path).write_json(FILE, _record(done))
    return done


def judge(expected: Expected, measured: Mapping[str, Spread]) -> list[Verdict]:
    """A verdict on each expected figure by the rule of this module."""
    verdicts = []
    for name, (mean, std) in expected.figures().items():
        spread = measured[name]
        allowed = max(expected.tolerance, DEVIATIONS * std * math.sqrt(1 / expected.runs + 1 / spread.n))
        above = spread.mean - mean
        outcome: Literal["pass", "pass (above)", "fail"] = "pass"
        if above < -allowed - ROUNDING:
            outcome = "fail"
        elif above > allowed + ROUNDING:
            outcome = "pass (above)"
        verdicts.append(Verdict(name, mean, std, expected.runs, spread, allowed, outcome))
    return verdicts


def _expected(recipe: Recipe) -> Expected:
    if recipe.expected is None:
        message, remedy = "there is no such table, so nothing to compare with.", "Add one: [expected] acc = 0.9"
        raise RecipeError(recipe.name, [Problem("expected", message, remedy)])
    computed = {settings.owner.name for settings in recipe.evaluation.metrics}
    if absent := sorted(recipe.expected.figures().keys() - computed):
        message = f"{', '.join(absent)} is expected, but no metric of the recipe."
        raise RecipeError(recipe.name, [Problem("evaluation.metrics", message, "Add it, or don't expect it.")])
    return recipe.expected


def _changes(overrides: Overrides) -> list[str]:
    texts = [f"{key}={value}" for key, value in overrides.items()] if isinstance(overrides, Mapping) else overrides
    harmless = ("expected.", "trainer.device", "data.root", "data.download")
    return [str(text) for text in texts if not str(text).strip().startswith(harmless)]


def _record(done: Reproduction) -> dict[str, Any]:
    return {
        "passed": done.passed,
        "rule": RULE,
        "figures": {
            verdict.name: {key: value for key, value in asdict(verdict).items() if key != "name"}
            for verdict in done.verdicts
        },
        "changes": done.changes,
        "seeds": list(done.seeds.runs),
    }
