"""Recipe → Trainer: every part is made here, by its own Config; no component is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from imcswav import checkpoint
from imcswav.callbacks import Callback
from imcswav.check import check_data, check_recipe, raise_errors
from imcswav.data import Data
from imcswav.devices import pick_device
from imcswav.engine import Engine, compiles
from imcswav.errors import Problem, RecipeError
from imcswav.files import write_csv
from imcswav.learners import Learner
from imcswav.optimizers import Optimizer
from imcswav.protocol import training_data
from imcswav.recipe import Recipe
from imcswav.runs import RunFolder
from imcswav.schedules import Schedule
from imcswav.seeding import mix
from imcswav.start import NO_RUN, find_start
from imcswav.trainer import Trainer

INIT = 0
"""Key of the random stream that initialises weights."""


def build_run(
    recipe: Recipe, *, out: str | Path | None = None, data: Data | None = None
) -> tuple[Trainer, list[Problem]]:
    """A trainer in a new run folder, and the warnings of the checks.

    The folder is made after all checks have passed and the data are read. Raises RecipeError, DataError, RunError.
    """
    problems = raise_errors(recipe.name, check_recipe(recipe, None if data is None else data.facts))
    recipe = recipe.resolved().model_copy(update={"expected": None})  # a claim about the file, not about this run
    device = pick_device(recipe.trainer.device)
    prepare_torch(recipe)
    data = training_data(recipe, data)
    problems += raise_errors(recipe.name, check_data(recipe, data))
    if data.streamed:  # resumed where memory suffices, the images would have another mean
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"placement": "stream"})})
    learner, origin = new_learner(recipe, data, problems)
    engine = build_engine(recipe, learner, device)
    trainer = assemble(recipe, engine, data, RunFolder.create(recipe, out, origin))
    return trainer, [*problems, *note_skipped(trainer)]


def restore_run(run: RunFolder, *, device: str | None = None, data: Data | None = None) -> Trainer:
    """The trainer of an interrupted run, at its newest checkpoint; at its first step where none was written yet.

    Raises RunError when no checkpoint can be read, or when it is of other images or another recipe; DataError.
    """
    if not checkpoint.saved(run.checkpoints):
        return _begin_again(run, device, data)
    state = checkpoint.load_latest(run.checkpoints)  # before the data are read: a damaged one is known at once
    recipe = run.recipe()
    torch_device = pick_device(device or recipe.trainer.device)
    prepare_torch(recipe)
    data = training_data(recipe, data)
    settings = recipe.learner
    assert isinstance(settings, Learner.Config)
    learner: Learner = settings.restored().build(facts=data.facts, clusters=recipe.clusters)
    trainer = assemble(recipe, build_engine(recipe, learner, torch_device), data, run)
    trainer.restore(state)
    run.note_environment(recipe)
    return trainer


def _begin_again(run: RunFolder, device: str | None, data: Data | None) -> Trainer:
    """The trainer of a run that was killed before its first checkpoint: all that it did is done again."""
    recipe = run.recipe()
    torch_device = pick_device(device or recipe.trainer.device)
    prepare_torch(recipe)
    data = training_data(recipe, data)
    learner, origin = new_learner(recipe, data, [])
    trainer = assemble(recipe, build_engine(recipe, learner, torch_device), data, run)
    run.write_environment(recipe, origin)
    note_skipped(trainer)
    return trainer


def new_learner(recipe: Recipe, data: Data, problems: list[Problem]) -> tuple[Learner, dict[str, Any]]:
    """A learner with its first weights, and what ``environment.json`` says of their origin; see ``start_learner``."""
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
    return {"init": start.load(learner)}


def assemble(recipe: Recipe, engine: Engine, data: Data, run: RunFolder) -> Trainer:
    """Put ready parts together on the device."""
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
    if not skipped:
        return []
    path = trainer.run.path / "skipped.csv"
    write_csv(path, ("image", "reason"), skipped)
    message = f"{len(skipped)} files can't be read and are left out; {path} lists them."
    return [Problem("data", message, severity="warning")]
