"""One recipe with several seeds: ordinary runs one after another in this process, and their mean.

runs/<name>/<time>-<id>/seeds.json     what was asked, what is finished, mean and standard deviation, signals
runs/<name>/<time>-<id>/seed-3/        a complete run folder
"""

from __future__ import annotations

import gc
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from imcswav.api import RunResult, complete, prepare, resume, with_data
from imcswav.environment import continued_environment, environment
from imcswav.errors import ImcswavError, Problem, RunError
from imcswav.recipe import Recipe
from imcswav.recipe.files import load_recipe
from imcswav.recipe.merge import Overrides, joined
from imcswav.recipe.seed_numbers import seed_numbers
from imcswav.results.kept import check_known, check_signal, choose, seed_agreement
from imcswav.results.series import DEVIATION, FILE, SeedsResult, difference, finished, finished_runs, of_recipe, read
from imcswav.runs import (
    RunFolder,
    figures,
    is_free,
    new_folder,
    refuse_filled,
)
from imcswav.stopping import Terminated


def run_seeds(
    recipe: str | Path | Mapping[str, Any],
    seeds: str | Iterable[int],
    overrides: Overrides = (),
    out: str | Path | None = None,
    data: Any = None,
    warn: Callable[[Problem], object] | None = None,
    *,
    resume: bool = False,
    tell: Callable[[str], object] | None = None,
    keep_by: str | None = None,
    written: Callable[[], object] | None = None,
    go_on: str | None = None,
) -> SeedsResult:
    """Train by a recipe with each of ``seeds`` ("0-4", "0,3,7" or numbers), as ``imcswav.run`` does with one.

    The runs are ``seed-<n>/`` in ``out``, a new or empty folder (default ``runs/<name>/<time>-<id>``), beside
    ``seeds.json``, which is brought up to date after every run. ``resume`` goes on in ``out``, by default in this
    recipe's newest folder of seeds: finished seeds aren't run again, and seeds may be added. ``tell`` is called with a
    sentence on progress, ``written`` whenever ``seeds.json`` was; ``go_on`` is the command that a stopped series names,
    by default ``imcswav resume``. ``keep_by`` names the signal, such as "seed_agreement", that chooses the run
    ``kept``; labels play no part, and nothing is deleted.

    Raises what ``imcswav.run`` raises, ImcswavError for a signal that can't be; KeyboardInterrupt after saving.
    """
    wanted = numbers(seeds)
    loaded = load_recipe(recipe, with_data(overrides, data))
    if resume:
        folder = _to_go_on(loaded, out)
    else:
        folder = Path(out) if out is not None else new_folder(loaded.name)
        refuse_filled(folder)
    new: dict[str, Any] = {"recipe": loaded.name, "seeds": [], "runs": {}, "settings": _settings(loaded)}
    known = read(folder) if resume else new
    kept = [seed for seed in known["seeds"] if seed in wanted or finished(folder, known, seed)]
    known["seeds"] = [*kept, *(seed for seed in wanted if seed not in kept)]
    known["keep_by"] = keep_by or known.get("keep_by")
    if known["keep_by"] is not None:
        check_signal(known["keep_by"], len(known["seeds"]))
        if not loaded.evaluation.signals:
            raise ImcswavError("--keep needs signals; leave evaluation.signals = false out of the recipe.")
        done = finished_runs(folder) if resume else {}
        if done.keys() >= set(known["seeds"]):  # else the signal may still come
            check_known(known["keep_by"], SeedsResult(folder, done).signals)
    told = once(warn), tell or _nothing, written or _nothing, go_on or _go_on(folder)
    return _Series(folder, known, recipe, overrides, data, *told).run()


def resume_seeds(
    folder: str | Path, device: str | None = None, data: Any = None, tell: Callable[[str], object] | None = None
) -> SeedsResult:
    """Go on with an interrupted series of seeds; a finished one is returned as it is."""
    known = read(Path(folder))
    changes = {} if device is None else {"trainer.device": device}
    told = once(None), tell or _nothing, _nothing, _go_on(Path(folder))
    return _Series(Path(folder), known, known["settings"], changes, data, *told).run()


def surroundings() -> dict[str, Any]:
    """What is written of the environment of several runs: everything but a seed."""
    return {key: value for key, value in environment(0).items() if key != "seed"}


@dataclass(frozen=True)
class _Series:
    folder: Path
    known: dict[str, Any]
    recipe: str | Path | Mapping[str, Any]
    overrides: Overrides
    data: Any
    warn: Callable[[Problem], object]
    tell: Callable[[str], object]
    written: Callable[[], object]
    go_on: str

    def run(self) -> SeedsResult:
        """Every seed that isn't finished; the list is written just before the first run's folder is made."""
        done = dict(finished_runs(self.folder))
        before, seeds = set(done), self.known["seeds"]
        try:
            for number, seed in enumerate(seeds, 1):
                self.tell(f"Seed {seed} ({number} of {len(seeds)})")
                if seed not in done:
                    done[seed] = self._run(seed, done)
                    forget()
                    self._write(self._result(done))
                self.tell(f"Seed {seed}: {_line(done[seed])}")
        except (KeyboardInterrupt, Terminated):
            if left := [str(seed) for seed in seeds if seed not in done]:
                self.tell(f"Seeds not finished: {', '.join(left)}; go on with: {self.go_on}")
            raise
        return self._chosen(self._result(done).runs, whole=before >= set(seeds))

    def _result(self, done: Mapping[int, RunResult]) -> SeedsResult:
        """What is finished, in the order of the seeds."""
        return SeedsResult(self.folder, {seed: done[seed] for seed in self.known["seeds"] if seed in done})

    def _chosen(self, done: dict[int, RunResult], whole: bool) -> SeedsResult:
        """All runs with how far they agree, and the one kept.

        Where no run has the signal, all but this is written, so that the series can be gone on with; nothing where the
        series was ``whole`` before, and may have kept a run.
        """
        wanted = all(run.summary.get("signals") != {} for run in done.values())  # empty where the recipe wants none
        agreement = seed_agreement({seed: run.path for seed, run in done.items()}) if wanted else {}
        result = replace(self._result(done), agreement=agreement)
        by = self.known.get("keep_by")
        try:
            result = replace(result, kept=None if by is None else choose(result.signals, by))
        except RunError:
            if not whole:
                self.known["keep_by"] = None
                self._write(result)
            raise
        self._write(result)
        return result

    def _run(self, seed: int, done: Mapping[int, RunResult]) -> RunResult:
        begun = self.known["runs"].get(str(seed))
        run = RunFolder(self.folder / begun) if begun else None
        if run is not None and run.can_go_on:
            done_here = resume(run.path, self._device(), data=self.data, overrides=self.overrides)
            self._note_environment()
            return done_here
        path = _unused(self.folder, seed)
        changes = {"seed": seed, **self._start(seed)}

        def ready() -> None:
            self.known["runs"][str(seed)] = path.name
            self._begin(self._result(done))

        return complete(prepare(self.recipe, joined(self.overrides, changes), path, self.data, self.warn, ready))

    def _begin(self, done: SeedsResult) -> None:
        """Write the list before a run's folder: a process killed from here on leaves what can be gone on with.

        Of a ladder, which is told by ``written``, before that of the seeds.
        """
        self._note_environment()
        try:
            self.written()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(done)
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"The folder {self.folder} can't be written: {reason}; give another --out.") from error

    def _start(self, seed: int) -> dict[str, str]:
        """The setting of a second stage that starts from a rung: the run of the same seed there."""
        init = self.known["settings"].get("init", {})
        if "run" in init or "rung" not in init:
            return {}
        rung = self.folder.resolve().parent / init["rung"]
        run = finished_runs(rung).get(seed)
        if run is None:
            raise RunError(f"init.rung: {rung} has no finished run of seed {seed} to start from; run it first.")
        return {"init.run": str(run.path)}

    def _note_environment(self) -> None:
        """What the first run that is trained here finds, and of later ones what is another."""
        now, known = surroundings(), self.known.get("environment")
        self.known["environment"] = now if known is None else continued_environment(known, now)

    def _device(self) -> str | None:
        recipe = load_recipe(self.recipe, with_data(self.overrides, self.data))
        return recipe.trainer.device

    def _write(self, result: SeedsResult) -> None:
        done, kept = result.runs, result.kept
        scores = {
            name: {
                "mean": round(spread.mean, 6),
                "std": None if spread.std is None else round(spread.std, 6),
                "n": spread.n,
                "values": {str(seed): figures(run.summary)[name] for seed, run in done.items()},
            }
            for name, spread in result.scores.items()
        }
        record = {
            "recipe": self.known["recipe"],
            "protocol": next((run.summary.get("protocol") for run in done.values()), None),
            "seeds": self.known["seeds"],
            "finished": list(done),
            "deviation": DEVIATION,
            "scores": scores,
            "signals": {str(seed): found for seed, found in result.signals.items()},
            "keep_by": self.known.get("keep_by"),
            "kept": None if kept is None else kept.record(self.known["runs"][str(kept.seed)]),
            "runs": self.known["runs"],
            "environment": self.known.get("environment"),
            "settings": self.known["settings"],
        }
        RunFolder(self.folder).write_json(FILE, record)
        self.written()


def once(warn: Callable[[Problem], object] | None) -> Callable[[Problem], object]:
    """``warn``, or a Python warning, told of each problem once: every run meets the same."""
    told: set[str] = set()

    def tell(problem: Problem) -> None:
        if str(problem) not in told:
            told.add(str(problem))
            (warn or (lambda one: warnings.warn(str(one), stacklevel=2)))(problem)

    return tell


def numbers(seeds: str | Iterable[int]) -> tuple[int, ...]:
    """The seeds that an option names, each once; raises ImcswavError."""
    try:
        return seed_numbers(seeds)
    except (ValueError, TypeError) as error:
        raise ImcswavError(f"--seeds: {error}.") from error


def _settings(recipe: Recipe) -> dict[str, Any]:
    """The recipe as it can be run again from every folder; what others got with it is no part of that."""
    return recipe.resolved().model_copy(update={"expected": None}).tables()


def _to_go_on(recipe: Recipe, out: str | Path | None) -> Path:
    """``out``, or the newest folder of this recipe's seeds; raises RunError when it is of another recipe."""
    if out is not None:
        if not of_recipe(Path(out), recipe):
            raise RunError(
                f"The runs in {out} are of another recipe ({difference(Path(out), recipe)}); give the same --set, or "
                f"leave --resume out and give another --out."
            )
        return Path(out)
    home = Path("runs") / recipe.name
    for file in sorted(home.glob(f"*/{FILE}"), reverse=True):
        if of_recipe(file.parent, recipe):
            return file.parent
    newest = max(home.glob(f"*/{FILE}"), default=None)
    other = f" (in {newest.parent} {difference(newest.parent, recipe)})" if newest else ""
    raise RunError(
        f"There is no series of seeds of this recipe under {home}{other}; "
        f"{'give the same --set, or ' if other else ''}leave --resume out to start one."
    )


def _unused(folder: Path, seed: int) -> Path:
    """``seed-<n>``, or ``seed-<n>-2`` … where an attempt left what can't be gone on with: nothing is overwritten."""
    attempt, path = 1, folder / f"seed-{seed}"
    while not is_free(path):
        attempt += 1
        path = folder / f"seed-{seed}-{attempt}"
    return path


def _go_on(folder: Path) -> str:
    return f"imcswav resume {shlex.quote(str(folder))}"


def _nothing(*said: str) -> None:
    """What is called where nobody listens."""


def _line(run: RunResult) -> str:
    """The figures of one run, in percent."""
    found = {name: value for name, value in figures(run.summary).items() if value is not None}
    return "  ".join(f"{name} {100 * value:.1f}" for name, value in found.items()) or "finished; there are no labels"


def forget() -> None:
    """Give back what a run held, so that the next finds as much memory as the first did."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if "torch._dynamo" in sys.modules:  # it compiles a function for so many networks only, then never again
        torch.compiler.reset()
