"""A ladder: recipes that extend one another by one change each, all with the same seeds, one run after another.

runs/<ladder>/<time>-<id>/ladder.json, ladder.md, ladder.csv    what each change brought, written after every run
runs/<ladder>/<time>-<id>/b_teacher/                            a folder of seeds for each rung
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imcswav.environment import continued_environment
from imcswav.errors import Problem, RunError
from imcswav.files import write_csv
from imcswav.recipe import Recipe
from imcswav.recipe.ladders import Ladder, find_ladder
from imcswav.recipe.merge import Overrides, typed
from imcswav.results.ladder_page import markdown
from imcswav.results.ladder_recipes import checked_recipes, rung_to_start_from
from imcswav.results.ladder_table import record, sheet
from imcswav.results.rungs import LadderResult, Rung, changes_between, gain_over
from imcswav.results.seeds import forget, numbers, once, run_seeds, surroundings
from imcswav.results.series import difference, finished_runs, is_series, of_recipe
from imcswav.runs import RunFolder, new_folder, refuse_filled

FILE = "ladder.json"


def run_ladder(
    ladder: str | Path,
    seeds: str | Iterable[int],
    overrides: Overrides = (),
    out: str | Path | None = None,
    data: Any = None,
    warn: Callable[[Problem], object] | None = None,
    *,
    resume: bool = False,
    tell: Callable[[str], object] | None = None,
) -> LadderResult:
    """Train by every recipe of a ladder with each of ``seeds``, and compare each with the one it extends.

    ``ladder`` is a folder, whose ``*.toml`` in the order of their names are the rungs, or the name of a shipped one.
    ``out`` is a new or empty folder (default ``runs/<ladder>/<time>-<id>``); ``resume`` goes on there, by default in
    this ladder's newest: finished seeds aren't run again, an unfinished one goes on from its checkpoint, and seeds and
    rungs may be added. Other arguments are ``run_seeds``'s, and change every rung.

    A rung whose training fails (RunError) is left, its ``failure`` says why, and the others go on; resuming tries it
    again. Raises RecipeError before the first run for all mistakes in all rungs, and what ``run_seeds`` raises.
    """
    found, wanted = find_ladder(ladder), numbers(seeds)
    recipes = checked_recipes(found, overrides, data)
    if resume:
        folder = _to_go_on(found, recipes, out)
        known = _read(folder)
        if not _is_of(known, found):
            raise RunError(
                f"{folder} is of the ladder '{known['ladder']}', whose table would be lost; give the --out of a ladder "
                f"'{found.name}' to go on with, or leave --resume out and give a new one."
            )
    else:
        folder, known = Path(out) if out is not None else new_folder(found.name), {"rungs": []}
        refuse_filled(folder)
    state = _State(known.get("environment"), {rung["name"]: rung["failure"] for rung in known["rungs"]})
    words = ["imcswav", "ladder", str(ladder), "--seeds", ",".join(map(str, wanted)), "--resume", "--out", str(folder)]
    command = shlex.join([*words, *(word for change in typed(overrides) for word in ("--set", change))])
    said = once(warn), tell or (lambda text: None)
    return _Climb(found, recipes, wanted, overrides, data, folder, state, *said, command).run()


@dataclass
class _State:
    """What changes in the course of a ladder, and is known again when it goes on."""

    environment: dict[str, Any] | None
    failures: dict[str, str | None]


@dataclass(frozen=True)
class _Climb:
    ladder: Ladder
    recipes: dict[str, Recipe]
    seeds: tuple[int, ...]
    overrides: Overrides
    data: Any
    folder: Path
    state: _State
    warn: Callable[[Problem], object]
    tell: Callable[[str], object]
    command: str
    """Goes on with the ladder where it was stopped."""

    def run(self) -> LadderResult:
        for name in self.ladder.rungs:
            self.state.failures[name] = failure = self._run(name)
            if failure is not None:
                forget()  # here nothing refers to the failed run any more
            self._write()
        return self._result()

    def _run(self, name: str) -> str | None:
        """Every seed of a rung that isn't finished; returns why it could not go on."""
        path = self.folder / name
        self.state.failures[name] = None
        if (lacking := self._without_start(name)) is not None:
            self.tell(f"{name}: failed: {lacking}")
            return lacking
        if set(self.seeds) - finished_runs(path).keys():
            now, known = surroundings(), self.state.environment
            self.state.environment = now if known is None else continued_environment(known, now)
        try:
            run_seeds(
                *(self.ladder.rungs[name], self.seeds, self.overrides, path, self.data, self.warn),
                resume=is_series(path),
                tell=lambda text: self.tell(f"{name}: {text}"),
                written=self._write,
                go_on=self.command,
            )
        except RunError as error:
            if not is_series(path):  # it did not even begin: nothing here can be written
                raise
            self.tell(f"{name}: failed: {error}")
            return str(error)
        return None

    def _without_start(self, name: str) -> str | None:
        """Why a second stage can't be run: the rung that it starts from has no run of one of the seeds."""
        rung = rung_to_start_from(self.recipes[name])
        left = set(self.seeds) - finished_runs(self.folder / name).keys()
        lacking = sorted(left - finished_runs(self.folder / rung).keys()) if rung else []
        if not lacking:
            return None
        return f"It starts from the rung {rung}, which has no finished run of seed {', '.join(map(str, lacking))}."

    def _write(self) -> None:
        result, folder = self._result(), RunFolder(self.folder)
        seeds = sorted({*self.seeds, *(seed for rung in result.rungs for seed in rung.runs)})  # with those of before
        self.folder.mkdir(parents=True, exist_ok=True)
        folder.write_json(FILE, record(result, seeds, self.state.environment))
        folder.write_text("ladder.md", markdown(result, seeds, self.state.environment))
        write_csv(self.folder / "ladder.csv", *sheet(result))

    def _result(self) -> LadderResult:
        rungs: dict[str, Rung] = {}
        for name, lower in self.ladder.below().items():
            path, failure = self.folder / name, self.state.failures.get(name)
            runs, below = finished_runs(path), rungs[lower] if lower else None
            changes = changes_between(self.recipes[below.name], self.recipes[name]) if below else {}
            sound = below is not None and failure is None and below.failure is None
            gain = gain_over(below, runs, changes) if below and sound else None
            rungs[name] = Rung(name, path, runs, lower, changes, gain, failure)
        return LadderResult(self.folder, self.ladder.name, list(rungs.values()))


def _to_go_on(ladder: Ladder, recipes: Mapping[str, Recipe], out: str | Path | None) -> Path:
    """``out``, or the newest folder of this ladder; raises RunError when runs in it are of another recipe."""
    if out is not None:
        for name in _others(Path(out), recipes):
            raise RunError(
                f"The runs in {Path(out) / name} are of another recipe than {ladder.rungs[name]} "
                f"({difference(Path(out) / name, recipes[name])}); give the same --set, or leave --resume out and give "
                f"another --out."
            )
        return Path(out)
    home = Path("runs") / ladder.name
    for file in sorted(home.glob(f"*/{FILE}"), reverse=True):
        if not _others(file.parent, recipes) and _is_of(_read(file.parent), ladder):
            return file.parent
    newest = max(home.glob(f"*/{FILE}"), default=None)
    if newest is None:
        raise RunError(f"There are no runs of this ladder under {home}; leave --resume out to start them.")
    others = _others(newest.parent, recipes)
    if not others:
        raise RunError(f"The ladders under {home} have other rungs; leave --resume out to start this one.")
    name = others[0]
    raise RunError(
        f"The newest runs of this ladder, in {newest.parent}, have other settings ({name}: "
        f"{difference(newest.parent / name, recipes[name])}); give the same --set, or leave --resume out to start anew."
    )


def _others(folder: Path, recipes: Mapping[str, Recipe]) -> list[str]:
    """Rungs whose runs in a folder are of another recipe."""
    return [
        name for name, recipe in recipes.items() if is_series(folder / name) and not of_recipe(folder / name, recipe)
    ]


def _is_of(known: Mapping[str, Any], ladder: Ladder) -> bool:
    """Whether what a ``ladder.json`` holds is of this ladder: of its name, and with one of its rungs if with any."""
    names = {rung["name"] for rung in known["rungs"]}
    return known["ladder"] == ladder.name and (not names or bool(names & ladder.rungs.keys()))


def _read(folder: Path) -> dict[str, Any]:
    """What ``ladder.json`` holds; raises RunError where there is none that can be read."""
    try:
        known: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if not known["ladder"] or not all({"name", "failure"} <= rung.keys() for rung in known["rungs"]):
            raise ValueError("it is no list of rungs")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{folder} holds no readable {FILE} ({error}); give the --out of a ladder to go on with."
        ) from error
    return known
