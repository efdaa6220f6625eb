"""Recipe → Trainer: every part is made here, by its own Config; no component is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from imcswav import checkpoint
from imcswav.callbacks import Callback
from imcswav.check import check_data, check_recipe, raise_errors
from imcswav.data import Data, mix
from imcswav.errors import ImcswavError, Problem
from imcswav.learners import Learner
from imcswav.optimizers import Optimizer
from imcswav.recipe import Recipe
from imcswav.runs import RunFolder
from imcswav.schedules import Schedule
from imcswav.trainer import Trainer

INIT = 0
"""Key of the random stream that initialises weights."""


def build_run(recipe: Recipe, *, out: str | Path | None = None, data: Data | None = None) -> tuple[Trainer, list[Problem]]:
    """A trainer in a new run folder, and the warnings of the checks.

    The folder is made after all checks have passed and the data are read. Raises RecipeError, DataError, RunError.
    """
    problems = raise_errors(recipe.name, check_recipe(recipe, None if data is None else data.facts))
    device = pick_device(recipe.trainer.device)
    prepare_torch(recipe)
    data = data or recipe.data.build()
    assert data is not None
    problems += raise_errors(recipe.name, check_data(recipe, data))
    learner: Learner = recipe.learner.build(facts=data.facts, clusters=recipe.clusters)
    trainer = assemble(recipe, learner, data, RunFolder.create(recipe, out), device)
    write_skipped(trainer)
    return trainer, problems


def restore_run(run: RunFolder, *, device: str | None = None, data: Data | None = None) -> Trainer:
    """The trainer of an interrupted run, at its newest checkpoint; raises RunError when there is none."""
    checkpoint.load_latest(run.checkpoints)  # before the data are read: a missing checkpoint is known at once
    recipe = run.recipe()
    torch_device = pick_device(device or recipe.trainer.device)
    prepare_torch(recipe)
    data = data or recipe.data.build()
    assert data is not None
    settings = recipe.learner
    assert isinstance(settings, Learner.Config)
    learner: Learner = settings.restored().build(facts=data.facts, clusters=recipe.clusters)
    trainer = assemble(recipe, learner, data, run, torch_device)
    trainer.restore()
    return trainer


def assemble(recipe: Recipe, learner: Learner, data: Data, run: RunFolder, device: torch.device) -> Trainer:
    """Put ready parts together on the device."""
    if recipe.trainer.channels_last:
        learner.memory_format = torch.channels_last
        learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner.to(device)
    optimizer: Optimizer = recipe.optimizer.build()
    schedule: Schedule = recipe.schedule.build()
    callbacks: list[Callback] = [
        settings.build()
        for settings in recipe.callbacks.values()
        if isinstance(settings, Callback.Config) and settings.enabled
    ]
    return Trainer(
        recipe=recipe,
        learner=learner,
        data=data.to(device),
        optimizer=optimizer.make([p for p in learner.parameters() if p.requires_grad]),
        schedule=schedule,
        callbacks=callbacks,
        run=run,
        device=device,
    )


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA, then MPS, then the CPU; raises ImcswavError for a device that isn't there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ImcswavError(f"Device '{name}' can't be used here ({reason}); use --device auto or cpu.") from error
    return device


def prepare_torch(recipe: Recipe) -> None:
    """Threads, determinism and the seed of the weights' initialisation."""
    settings = recipe.trainer
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(settings.deterministic)
    torch.backends.cudnn.benchmark = not settings.deterministic
    torch.manual_seed(mix(recipe.seed, INIT))


def write_skipped(trainer: Trainer) -> None:
    """``skipped.csv``: every file that could not be read, with the reason."""
    from imcswav.artefacts import write_csv

    if trainer.data.skipped:
        write_csv(trainer.run.path / "skipped.csv", ("path", "reason"), trainer.data.skipped)


def runtime_summary(trainer: Trainer) -> dict[str, Any]:
    """Figures of the training itself."""
    images = trainer.step * trainer.settings.batch_size
    return {
        "epochs": trainer.epoch,
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 2),
        "cpu_seconds": round(trainer.cpu_seconds, 2),
        "images_per_second": round(images / trainer.seconds, 1) if trainer.seconds else None,
    }
