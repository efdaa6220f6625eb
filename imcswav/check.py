"""Checks of a recipe before the first step: its parts with each other, its data, this machine, the run folder.

Each has one home: what a part knows it tells itself (``check_recipe``, ``check``, ``surveyed``), this machine is
imcswav/machine.py, the disk imcswav/disk.py. Here they are asked together, so that all problems are told at once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from pathlib import Path

import torch

from imcswav.callbacks import Callback
from imcswav.cost import check_memory
from imcswav.data import NO_STREAM, NO_STREAM_REMEDY, Data, DataFacts
from imcswav.disk import check_folder, check_room
from imcswav.distributed import world_size
from imcswav.errors import ImcswavError, PluginError, Problem, RecipeError
from imcswav.learners import Learner, RecipeFacts
from imcswav.machine import check_machine
from imcswav.protocol import ONE_SPLIT, ONE_SPLIT_REMEDY, training_facts
from imcswav.recipe import Recipe
from imcswav.recipe.salvage import beside, sound
from imcswav.runs import refuse_taken
from imcswav.schedules import Schedule
from imcswav.start import check_start

SAMPLE = 32
"""Images that are decoded to see whether the data can be read."""


def check_recipe(recipe: Recipe, facts: DataFacts | None = None) -> list[Problem]:
    """Every problem that the recipe's parts have with each other; ``facts`` of data handed over from Python."""
    return _Checked(recipe, facts).problems


def check_run(
    recipe: Recipe, facts: DataFacts | None = None, out: str | Path | None = None, wrong: Collection[str] = ()
) -> list[Problem]:
    """Everything that can be known before a run without a step: as ``check_recipe``, and this machine and its disk.

    ``wrong`` are the places of a salvaged recipe that can't be relied on; what hangs on them isn't checked. Random
    numbers go on as if nothing had been checked: parts may be built to see whether they can be.
    """
    with torch.random.fork_rng(devices=[]):
        return _check_run(recipe, facts, out, wrong)


def _check_run(
    recipe: Recipe, facts: DataFacts | None, out: str | Path | None, wrong: Collection[str]
) -> list[Problem]:
    checked = _Checked(recipe, facts, wrong)
    problems = checked.problems + check_machine(recipe.trainer, wrong) + _check_callbacks(recipe, wrong)
    problems += _check_metrics(recipe) if sound(wrong, "evaluation.metrics") else []
    problems += check_folder(out, recipe.name) if sound(wrong, "name") or out is not None else []
    whole = sound(wrong, "learner", "clusters", "optimizer", "callbacks", "name") and not any(
        map(_in_learner, (*wrong, *(problem.path for problem in problems if problem.severity == "error")))
    )
    if whole and checked.facts is not None:
        problems += check_memory(recipe, checked.facts) or check_room(recipe, checked.facts, out)
    return problems


class _Checked:
    """The parts of a recipe with each other. ``facts`` are those of what is trained on; None: not known."""

    def __init__(self, recipe: Recipe, facts: DataFacts | None = None, wrong: Collection[str] = ()) -> None:
        self.recipe, self.wrong = recipe, wrong
        self.problems: list[Problem] = _check_processes(recipe) if sound(wrong, "trainer.batch_size") else []
        self.facts = self._survey() if facts is None else facts
        if not sound(wrong, "data", "evaluation.train_on"):
            self.facts = None
        if self.facts is not None:
            self.problems += _check_protocol(recipe, self.facts)
            self.facts = training_facts(recipe, self.facts)
        self._check_numbers()
        self._check_learner()
        self.problems += _check_views(recipe) if sound(wrong, "learner", "predict.views") else []
        if sound(wrong, "init"):  # without facts only the run is looked at, and not what of it fits the learner
            whole = sound(wrong, "clusters") and not any(map(_in_learner, wrong))
            self.problems += check_start(recipe, self.facts if whole else None)

    def _survey(self) -> DataFacts | None:
        settings = self.recipe.data
        if not isinstance(settings, Data.Config):  # nothing is known of what the recipe wants
            return None
        self.problems += _check_placement(settings)
        try:
            facts, problems = settings.surveyed(SAMPLE)
        except ImcswavError as error:
            self.problems.append(Problem(_setting_named(settings, str(error)), str(error)))
            return None
        self.problems += problems
        return facts

    def _check_numbers(self) -> None:
        images = self.facts.images if self.facts is not None else None
        if images is None:
            self.steps = None
            return
        found = _check_counts(self.recipe, images)
        self.problems += [problem for problem in found if sound(self.wrong, problem.path)]
        self.steps = self.recipe.trainer.steps(images) if sound(self.wrong, "trainer") else None
        if self.steps and sound(self.wrong, "schedule"):
            per_epoch = images // self.recipe.trainer.batch_size
            self.problems += _check_warmup(self.recipe, per_epoch, self.steps)

    def _check_learner(self) -> None:
        settings = self.recipe.learner
        if not isinstance(settings, Learner.Config):
            return
        # of a number that nobody knows two very different ones are tried: what is wrong with both isn't about it
        clusters = [self.recipe.clusters] * 2 if sound(self.wrong, "clusters") else [2, 5003]
        batches = [self.recipe.trainer.batch_size] * 2 if sound(self.wrong, "trainer.batch_size") else [2, 5003]
        found, other = (settings.check_recipe(self._known(*both)) for both in zip(clusters, batches, strict=True))
        found = [problem for problem in found if problem in other]
        if any(map(_in_learner, self.wrong)):  # defaults stand in it that nobody chose: errors elsewhere in it count
            found = [one for one in found if one.severity == "error" and not beside(one.path, self.wrong)]
            self.problems += found if sound(self.wrong, "learner") else []
            return
        self.problems += found

    def _known(self, clusters: int, batch_size: int) -> RecipeFacts:
        return RecipeFacts(
            data=self.facts,
            steps=self.steps,
            epochs=self.recipe.trainer.epochs if sound(self.wrong, "trainer.epochs") else None,
            clusters=clusters,
            batch_size=batch_size,
            clusterer=self.recipe.clusterer is not None,
        )


def check_data(recipe: Recipe, data: Data) -> list[Problem]:
    """What only reading the data could tell: how many images really are there."""
    return _check_counts(recipe, len(data.train))


def _in_learner(place: str) -> bool:
    """Whether a dotted place is of the learner, whose tables stand at the top level."""
    first = place.partition(".")[0]
    return first == "learner" or (bool(first) and first not in Recipe.model_fields)


def _setting_named(settings: Data.Config, text: str) -> str:
    """The setting of the data that a message asks to change, else the data."""
    named = re.findall(r"\bdata\.(\w+)", text)
    return next((f"data.{name}" for name in named if name in type(settings).model_fields), "data")


def _check_placement(settings: Data.Config) -> list[Problem]:
    if settings.placement != "stream" or settings.can_stream:
        return []
    return [Problem("data.placement", NO_STREAM.format(name=settings.owner.name), NO_STREAM_REMEDY, "stream")]


def _check_views(recipe: Recipe) -> list[Problem]:
    learner, views = recipe.learner, recipe.predict.views
    if not isinstance(learner, Learner.Config) or getattr(learner.owner, "assigns_by_views", True) or views == 1:
        return []
    message = f"the learner '{learner.owner.name}' assigns whole images, once each."
    return [Problem("predict.views", message, "Leave it at 1.", views, severity="warning")]


def _check_processes(recipe: Recipe) -> list[Problem]:
    batch, processes = recipe.trainer.batch_size, world_size()
    if batch % processes == 0:
        return []
    fitting = max(processes, batch - batch % processes)
    message = f"a batch of {batch} can't be shared evenly by {processes} processes."
    return [Problem("trainer.batch_size", message, f"Use {fitting}, or another number of processes.", batch)]


def _check_protocol(recipe: Recipe, facts: DataFacts) -> list[Problem]:
    if recipe.evaluation.train_on == "train" or facts.test_images != 0:
        return []
    return [Problem("evaluation.train_on", ONE_SPLIT, ONE_SPLIT_REMEDY, "train+test")]


def _check_counts(recipe: Recipe, images: int | None) -> list[Problem]:
    if images is None:
        return []
    problems = []
    if images < 2:
        few = "is 1 training image" if images else "are 0 training images"
        return [Problem("data", f"there {few}.", "Give at least 2 images.")]
    if recipe.clusters > images:
        message = f"{recipe.clusters} clusters are more than the {images} training images."
        problems.append(Problem("clusters", message, "Ask for fewer clusters.", recipe.clusters))
    if recipe.trainer.epochs and recipe.trainer.batch_size > images:
        message = f"a batch of {recipe.trainer.batch_size} is more than the {images} training images."
        problems.append(Problem("trainer.batch_size", message, f"Use at most {images}.", recipe.trainer.batch_size))
    return problems


def _check_warmup(recipe: Recipe, steps_per_epoch: int, steps: int) -> list[Problem]:
    assert isinstance(recipe.schedule, Schedule.Config)
    warmup = recipe.schedule.warmup(steps_per_epoch)
    if warmup <= steps // 2:
        return []
    message = f"the learning rate warms up for {warmup} steps, and the training has {steps}."
    return [Problem("schedule", message, "Shorten the warm-up, or train longer.", severity="warning")]


def _check_callbacks(recipe: Recipe, wrong: Collection[str]) -> list[Problem]:
    return [
        dataclasses.replace(problem, path=f"callbacks.{name}.{problem.path}")
        for name, settings in recipe.callbacks.items()
        if isinstance(settings, Callback.Config) and settings.enabled and sound(wrong, f"callbacks.{name}")
        for problem in settings.check()
    ]


def _check_metrics(recipe: Recipe) -> list[Problem]:
    try:
        refuse_taken(recipe)
    except PluginError as error:
        return [Problem("evaluation.metrics", str(error))]
    return []


def raise_errors(source: str, problems: list[Problem]) -> list[Problem]:
    """Raise RecipeError when one of the problems is an error; else return the warnings."""
    if any(problem.severity == "error" for problem in problems):
        raise RecipeError(source, [problem for problem in problems if problem.severity == "error"])
    return problems
