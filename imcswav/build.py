"""Recipe → Trainer: every part is made here, by its own Config; no component is named."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from imcswav import checkpoint, distributed
from imcswav.callbacks import Callback
from imcswav.check import check_data, check_run, raise_errors
from imcswav.cost import check_memory
from imcswav.data import Data, DataFacts
from imcswav.devices import pick_device
from imcswav.disk import OUT
from imcswav.engine import Engine, compiles
from imcswav.errors import Problem, RecipeError, RunError
from imcswav.learners import Learner
from imcswav.optimizers import Optimizer
from imcswav.protocol import training_data
from imcswav.recipe import Recipe
from imcswav.recipe.merge import Overrides
from imcswav.runs import RunFolder
from imcswav.schedules import Schedule
from imcswav.seeding import mix
from imcswav.start import NO_RUN, find_start, take_normalization
from imcswav.trainer import Trainer

INIT, RANK = 0, 5
"""Keys of the random streams that initialise weights, and that a process of several draws from for itself."""


def build_run(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    data: Data | None = None,
    ready: Callable[[], object] | None = None,
) -> tuple[Trainer, list[Problem]]:
    """A trainer in a new run folder, and the warnings of the checks.

    The folder is made after all checks have passed and the data are read, and ``ready`` is called just before. Raises
    RecipeError, DataError, RunError.
    """
    problems = _preflight(recipe, None if data is None else data.facts, out)
    recipe = recipe.resolved().model_copy(update={"expected": None})  # a claim about the file, not about this run
    device = pick_device(recipe.trainer.device)
    prepare_torch(recipe)
    data = _read(recipe, data)
    problems += raise_errors(recipe.name, check_data(recipe, data))
    if data.streamed:  # resumed where memory suffices, the images would have another mean
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"placement": "stream"})})
    learner, origin = new_learner(recipe, data, problems)
    engine = build_engine(recipe, learner, device)
    if ready is not None:
        ready()
    made = RunFolder.create(recipe, out, origin) if distributed.is_main() else None
    run = distributed.from_main(made)
    assert run is not None
    trainer = assemble(recipe, engine, data, run)
    return trainer, [*problems, *note_skipped(trainer)]


def _preflight(recipe: Recipe, facts: DataFacts | None, out: str | Path | None) -> list[Problem]:
    """All that can be known before the data are read, as `imcswav check` tells it; random numbers stay as they are.

    No step is tried: on a CPU that takes as long as training itself, on a GPU the first step tells. Warnings about the
    data are left out, for reading them tells more.
    """
    try:
        found = raise_errors(recipe.name, check_run(recipe, facts, out))
    except RecipeError as error:
        if [problem.where for problem in error.problems] == [OUT]:
            raise RunError(error.problems[0].message) from None
        raise
    return [problem for problem in found if problem.path.partition(".")[0] != "data"]


def restore_run(
    run: RunFolder, *, device: str | None = None, data: Data | None = None, overrides: Overrides = ()
) -> Trainer:
    """The trainer of an interrupted run, at its newest checkpoint; at its first step where none was written yet.

    ``overrides`` change where and how loudly it runs (``runs.placing``).

    Raises RunError when no checkpoint can be read, or when it is of other images or another recipe; DataError.
    """
    if not distributed.from_main(run.saved):
        return _begin_again(run, device, data, overrides)
    state = checkpoint.load_latest(run.checkpoints)  # before the data are read: a damaged one is known at once
    if len(steps := set(distributed.of_all(state.get("step")))) > 1:
        raise RunError(
            f"The processes read different checkpoints in {run.checkpoints}, of the steps {sorted(map(str, steps))}; "
            f"is the folder the same on all machines? Go on when it is."
        )
    recipe = run.recipe(overrides)
    torch_device = pick_device(device or recipe.trainer.device)
    prepare_torch(recipe)
    data = _read(recipe, data)
    settings = recipe.learner
    assert isinstance(settings, Learner.Config)
    learner: Learner = settings.restored().build(facts=data.facts, clusters=recipe.clusters)
    trainer = assemble(recipe, build_engine(recipe, learner, torch_device), data, run)
    trainer.restore(state)
    if distributed.is_main():
        run.note_environment(recipe)
    return trainer


def _begin_again(run: RunFolder, device: str | None, data: Data | None, overrides: Overrides) -> Trainer:
    """The trainer of a run that was killed before its first checkpoint: all that it did is done again."""
    if not run.can_go_on:
        raise RunError(
            f"{run.path} has results and no checkpoint to go on from; nothing is overwritten: start a new run."
        )
    warnings.warn(f"{run.path} has no checkpoint yet, so the run begins anew there.", stacklevel=4)
    recipe = run.recipe(overrides)
    torch_device = pick_device(device or recipe.trainer.device)
    prepare_torch(recipe)
    data = _read(recipe, data)
    learner, origin = new_learner(recipe, data, [])
    trainer = assemble(recipe, build_engine(recipe, learner, torch_device), data, run)
    if distributed.is_main():
        run.write_environment(recipe, origin)
    note_skipped(trainer)
    return trainer


def _read(recipe: Recipe, data: Data | None) -> Data:
    """The training data; of several processes the main one reads them first, and leaves the others its cache.

    Whether they are streamed is the main one's choice, for each finds less memory than the one before. Raises RunError
    when the processes don't find the same images.
    """
    found = training_data(recipe, data) if distributed.is_main() else None
    streamed = distributed.from_main(found is not None and found.streamed)
    if found is None:
        asked: Any = recipe.data
        if data is None and getattr(asked, "placement", None) == "auto":
            asked = asked.model_copy(update={"placement": "stream" if streamed else "host"})
        found = training_data(recipe.model_copy(update={"data": asked}), data)
        if not streamed:  # which device they go to is each one's own choice again
            found.config = cast(Data.Config, recipe.data)
    if distributed.world_size() > 1 and len(set(distributed.of_all((found.digest(), found.mean, found.std)))) > 1:
        raise RunError("The processes don't find the same training images; let all of them read the same folder.")
    return found


def new_learner(recipe: Recipe, data: Data, problems: list[Problem]) -> tuple[Learner, dict[str, Any]]:
    """A learner with its first weights, and what ``environment.json`` says of their origin; see ``start_learner``."""
    raise_errors(recipe.name, check_memory(recipe, data.facts))
    torch.manual_seed(mix(recipe.seed, INIT))
    settings = recipe.learner
    assert isinstance(settings, Learner.Config)
    settings = settings if recipe.init is None else settings.restored()
    learner: Learner = settings.build(facts=data.facts, clusters=recipe.clusters)
    return learner, start_learner(recipe, learner, problems)


def start_learner(recipe: Recipe, learner: Learner, problems: list[Problem]) -> dict[str, Any]:
    """Load the finished run that the recipe starts from, if any; gives what ``environment.json`` says of the origin.

    What starts anew is added to ``problems`` unless the checks told it already; raises RecipeError, RunError.
    """
    if recipe.init is None:
        return {}
    if recipe.init.run is None:
        raise RecipeError(recipe.name, [NO_RUN])
    start = find_start(recipe.init.run, learner)
    problems += [problem for problem in raise_errors(recipe.name, start.problems()) if problem not in problems]
    origin = start.load(learner)
    problems += take_normalization(recipe.init.run, learner)
    return {"init": origin}


def assemble(recipe: Recipe, engine: Engine, data: Data, run: RunFolder) -> Trainer:
    """Put ready parts together on the device."""
    if distributed.world_size() > 1:  # their weights are the same, their noise must not be
        torch.manual_seed(mix(recipe.seed, RANK, distributed.rank()))
    callbacks: list[Callback] = [
        settings.build()
        for settings in recipe.callbacks.values()
        if isinstance(settings, Callback.Config) and settings.enabled
    ]
    return Trainer(recipe=recipe, engine=engine, data=data.to(engine.device), callbacks=callbacks, run=run)


def build_engine(recipe: Recipe, learner: Learner, device: torch.device) -> Engine:
    """The training step on the device."""
    wanted = recipe.trainer.channels_last
    if learner.prefers_channels_last(compiles(recipe.trainer.compile, device)) if wanted == "auto" else wanted:
        learner.memory_format = torch.channels_last
        learner.to(memory_format=torch.channels_last)
    learner.to(device)
    optimizer: Optimizer = recipe.optimizer.build()
    schedule: Schedule = recipe.schedule.build()
    return Engine(
        learner=learner,
        optimizer=optimizer.make(learner.trainable(), learner.depths()),
        schedule=schedule,
        settings=recipe.trainer,
        device=device,
        seed=recipe.seed,
    )


def prepare_torch(recipe: Recipe) -> None:
    """Threads and determinism."""
    settings = recipe.trainer
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses
    torch.use_deterministic_algorithms(settings.deterministic)
    torch.backends.cudnn.benchmark = not settings.deterministic


def note_skipped(trainer: Trainer) -> list[Problem]:
    """Write ``skipped.csv``, every unreadable file with the reason; returns a warning with their number."""
    skipped = trainer.data.skipped
    if not skipped or not distributed.is_main():
        return []
    path = trainer.run.write_skipped(trainer.data.unread())
    message = f"{len(skipped)} files can't be read and are left out; {path} lists them."
    return [Problem("data", message, severity="warning")]
