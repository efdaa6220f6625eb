"""Checks between parts of a recipe, before anything is downloaded or built."""

from __future__ import annotations

from imcswav.data import NO_STREAM, NO_STREAM_REMEDY, Data, DataFacts
from imcswav.distributed import world_size
from imcswav.errors import ImcswavError, Problem, RecipeError
from imcswav.learners import Learner, RecipeFacts
from imcswav.protocol import ONE_SPLIT, ONE_SPLIT_REMEDY, training_facts
from imcswav.recipe import Recipe
from imcswav.schedules import Schedule
from imcswav.start import check_start


def check_recipe(recipe: Recipe, facts: DataFacts | None = None) -> list[Problem]:
    """Every problem that the recipe's parts have with each other; ``facts`` of data handed over from Python."""
    problems = _check_placement(recipe) + _check_processes(recipe)
    if facts is None:
        try:
            facts = recipe.data.facts()  # type: ignore[attr-defined]
        except ImcswavError as error:
            problems.append(Problem("data", str(error)))
    if facts is not None:
        problems += _check_protocol(recipe, facts)
        facts = training_facts(recipe, facts)
        problems += _check_counts(recipe, facts.images)
    images = facts.images if facts is not None else None
    steps = None if images is None else recipe.trainer.steps(images)
    if images and steps:
        problems += _check_warmup(recipe, images // recipe.trainer.batch_size, steps)
    known = RecipeFacts(
        data=facts,
        steps=steps,
        epochs=recipe.trainer.epochs,
        clusters=recipe.clusters,
        batch_size=recipe.trainer.batch_size,
        clusterer=recipe.clusterer is not None,
    )
    assert isinstance(recipe.learner, Learner.Config)
    return problems + recipe.learner.check_recipe(known) + check_start(recipe, facts)


def check_data(recipe: Recipe, data: Data) -> list[Problem]:
    """What only reading the data could tell: how many images really are there."""
    return _check_counts(recipe, len(data.train))


def _check_placement(recipe: Recipe) -> list[Problem]:
    settings = recipe.data
    assert isinstance(settings, Data.Config)
    if settings.placement != "stream" or settings.can_stream:
        return []
    return [Problem("data.placement", NO_STREAM.format(name=settings.owner.name), NO_STREAM_REMEDY, "stream")]


def _check_processes(recipe: Recipe) -> list[Problem]:
    batch, processes = recipe.trainer.batch_size, world_size()
    if batch % processes == 0:
        return []
    fitting = max(processes, batch - batch % processes)
    message = f"a batch of {batch} can't be shared evenly by {processes} processes."
    return [Problem("trainer.batch_size", message, f"Use {fitting}, or other processes.", batch)]


def _check_protocol(recipe: Recipe, facts: DataFacts) -> list[Problem]:
    if recipe.evaluation.train_on == "train" or facts.test_images != 0:
        return []
    return [Problem("evaluation.train_on", ONE_SPLIT, ONE_SPLIT_REMEDY, "train+test")]


def _check_counts(recipe: Recipe, images: int | None) -> list[Problem]:
    if images is None:
        return []
    problems = []
    if recipe.clusters > images:
        message = f"{recipe.clusters} clusters are more than the {images} training images."
        problems.append(Problem("clusters", message, "Ask for fewer clusters.", recipe.clusters))
    if images < 2:
        return [*problems, Problem("data", f"there is {images} training image.", "Give at least 2 images.")]
    if recipe.trainer.epochs and recipe.trainer.batch_size > images:
        message = f"a batch of {recipe.trainer.batch_size} is more than the {images} training images."
        problems.append(Problem("trainer.batch_size", message, f"Use at most {images}.", recipe.trainer.batch_size))
    return problems


def _check_warmup(recipe: Recipe, steps_per_epoch: int, steps: int) -> list[Problem]:
    assert isinstance(recipe.schedule, Schedule.Config)
    warmup = recipe.schedule.warmup(steps_per_epoch)
    if warmup <= steps // 2:
        return []
    message = f"the learning rate still warms up for {warmup} of the training's {steps} steps."
    return [Problem("schedule", message, "Shorten the warm-up, or train longer.", severity="warning")]


def raise_errors(source: str, problems: list[Problem]) -> list[Problem]:
    """Raise RecipeError when one of the problems is an error; else return the warnings."""
    if any(problem.severity == "error" for problem in problems):
        raise RecipeError(source, [problem for problem in problems if problem.severity == "error"])
    return problems
