"""Whether a recipe gives the figures that its ``[expected]`` table names.

The rule, for each figure: the mean of our n runs may fall short of the expected mean by at most

    max(tolerance, 3 · std · sqrt(1 / runs + 1 / n))

where std, over that many runs, is the expected deviation: three standard deviations of the difference of two means, so
that a sound installation fails seldom, and never by less than ``tolerance``. Falling short by more is a failure; lying
above by more passes and is said.

Figures are compared with those of the same name: ``acc_bn_test``, as published figures are scored, with batch-norm
statistics of the test images; the others with those of ``[predict] bn_statistics``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from imcswav.api import with_data
from imcswav.errors import ImcswavError, Problem, RecipeError
from imcswav.protocol import training_facts
from imcswav.recipe import Expected, Recipe
from imcswav.recipe.files import load_recipe
from imcswav.recipe.flat import flat
from imcswav.recipe.merge import Overrides, parse_overrides, typed
from imcswav.results.seeds import run_seeds
from imcswav.results.series import SeedsResult, Spread
from imcswav.runs import PLACE, REFERENCE, RunFolder, within

FILE = "reproduction.json"
DEVIATIONS = 3
RULE = (
    f"A mean passes when it falls short by at most max(tolerance, {DEVIATIONS} · std · sqrt(1 / runs + 1 / n)), with "
    "std and runs those of the expected figure and n the runs made here."
)
ROUNDING = 1e-9
HARMLESS = (*PLACE, "data.root", "data.download")
"""Settings, by dotted path, that say only where and how loudly to run: expected figures hold whatever they are."""
STATISTICS = {
    "train": "batch-norm statistics of training images",
    "test": "batch-norm statistics of the scored images",
    "running": "batch-norm statistics as training left them",
}
PUBLISHED = "batch-norm statistics of the test images"


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
    protocols: dict[str, str]
    """How each figure was scored, in words."""

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
            f"The runs in {found.path} have no {' and no '.join(absent)} to compare: the data have no labels, "
            f"{'there is no test split, ' if 'acc_bn_test' in absent else ''}or nothing assigns clusters."
        )
    protocols = {name: _protocol(name, found) for name in expected.figures()}
    done = Reproduction(found, judge(expected, found.scores), _changes(overrides), protocols)
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
    computed = {*REFERENCE, *(settings.owner.name for settings in recipe.evaluation.metrics)}
    if absent := sorted(recipe.expected.figures().keys() - computed):
        message = f"{', '.join(absent)} is expected, but no metric of the recipe."
        raise RecipeError(recipe.name, [Problem("evaluation.metrics", message, "Add it, or don't expect it.")])
    if recipe.expected.acc_bn_test is not None and _test_images(recipe) == 0:
        message = "is scored on a test split that isn't trained on, and there is none."
        raise RecipeError(recipe.name, [Problem("expected.acc_bn_test", message, "Expect acc instead.")])
    return recipe.expected


def _test_images(recipe: Recipe) -> int | None:
    """Images that are scored and not trained on; None where only reading the data tells."""
    try:
        return training_facts(recipe, recipe.data.facts()).test_images  # type: ignore[attr-defined]
    except ImcswavError:  # the run says what is wrong with the data; those handed over are unknown
        return None


def _protocol(name: str, found: SeedsResult) -> str:
    summary = next(iter(found.runs.values())).summary
    statistics = PUBLISHED if name == "acc_bn_test" else STATISTICS[summary["bn_statistics"]]
    return f"{summary.get('protocol', 'unknown')}; {statistics}"


def _changes(overrides: Overrides) -> list[str]:
    """The overrides, as written, that change anything not in HARMLESS; a table changes each setting in it."""
    return [text for text in typed(overrides) if not all(within(path, HARMLESS) for path in _paths(text))]


def _paths(text: str) -> list[str]:
    changes, _ = parse_overrides([text])
    return [path for change in changes for path in flat(change.value, ".".join(map(str, change.path)))]


def _record(done: Reproduction) -> dict[str, Any]:
    return {
        "passed": done.passed,
        "rule": RULE,
        "figures": {
            name: {"protocol": done.protocols[name], **verdict}
            for verdict in map(asdict, done.verdicts)
            for name in [verdict.pop("name")]
        },
        "changes": done.changes,
        "seeds": list(done.seeds.runs),
    }
