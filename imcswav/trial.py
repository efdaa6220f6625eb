"""A few steps of the real thing on random images: how long a training takes here, and whether a batch fits the device.

Nothing is read and nothing written. On a GPU the whole batch is taken, compiled and recorded as the recipe says; on a
CPU as many images as a step of a few seconds has, and the rest in proportion.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace

import torch

from imcswav.bench.clock import Clock
from imcswav.blame import culprit
from imcswav.build import build_engine, prepare_torch
from imcswav.cost import Cost
from imcswav.data import Batch, DataFacts
from imcswav.devices import pick_device
from imcswav.errors import ImcswavError, Problem
from imcswav.imaging.placement import choose, free_memory, size
from imcswav.learners import Learner
from imcswav.protocol import training_facts
from imcswav.recipe import Recipe
from imcswav.recording import EAGER_STEPS
from imcswav.step import Progress

TIMED = 3
"""Steps that are timed, after others that warm up."""
LONGEST = 20.0
"""Seconds after which no further step is begun on a CPU, once one was timed."""
CPU_OPERATIONS = 2e10
"""Floating-point operations of a step on a CPU at most: some seconds of one core."""
TIGHT = 0.9
"""Share of the free memory above which a training that fits is warned of: evaluation needs some too."""


@dataclass(frozen=True)
class Trial:
    """``seconds`` of a step with the recipe's ``batch``, from the median of ``timed`` steps of ``images`` images each.

    ``memory`` in bytes, on CUDA alone: the most that was held at once, with the images where they would lie there.
    """

    device: str
    seconds: float
    timed: int
    images: int
    batch: int
    memory: int | None = None
    free: int | None = None


def try_steps(recipe: Recipe, cost: Cost) -> tuple[Trial | None, list[Problem]]:
    """Train a new learner for some steps; what goes wrong, and speed that has to be left out, are problems."""
    device = pick_device(recipe.trainer.device)
    facts = training_facts(recipe, recipe.data.facts())  # type: ignore[attr-defined]
    free = free_memory(device)
    out_of_memory, problem = False, None
    try:
        trial, notes = _measure(recipe, facts, images_of(recipe, cost, device), device)
    except torch.OutOfMemoryError:
        out_of_memory = True
    except ImcswavError as error:
        problem = Problem("trainer", str(error))
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
        who = culprit(error)
        message = (
            f"a step on random images fails on {device}: {who + ': ' if who else ''}{type(error).__name__}: {error}."
        )
        problem = Problem("learner", message, "Check that its parts fit each other and the device.")
    if out_of_memory:  # outside of the handler, whose traceback would keep the memory
        torch.cuda.empty_cache()
        return None, [too_large(recipe, f"more than the {size(free)} free on {device}")]
    if problem is not None:
        return None, [problem]
    problems = [Problem("trainer", note, severity="warning") for note in notes]
    if trial.memory is None:
        return trial, problems + check_estimate(recipe, cost.memory, free, device)
    trial = replace(trial, memory=trial.memory + _images_there(recipe, facts, device), free=int(free))
    return trial, problems + check_memory(recipe, trial)


def images_of(recipe: Recipe, cost: Cost, device: torch.device) -> int:
    """Images of a step that is timed."""
    batch = recipe.trainer.batch_size
    if device.type != "cpu" or not cost.operations:
        return batch
    return max(2, min(batch, int(CPU_OPERATIONS / cost.operations)))


def check_memory(recipe: Recipe, trial: Trial) -> list[Problem]:
    """What was measured against what was free."""
    if trial.memory is None or trial.free is None:
        return []
    told = f"{size(trial.memory)} of the {size(trial.free)} free on {trial.device}"
    if trial.memory > trial.free:
        return [too_large(recipe, told)]
    return [too_large(recipe, told, "warning")] if trial.memory > TIGHT * trial.free else []


def check_estimate(recipe: Recipe, need: int, free: float, device: torch.device) -> list[Problem]:
    """Only a warning: what is estimated is no measurement, and main memory can be swapped."""
    if need <= free:
        return []
    return [too_large(recipe, f"about {size(need)}, and {size(free)} are free on {device}", "warning")]


def too_large(recipe: Recipe, told: str, severity: str = "error") -> Problem:
    """A batch that takes too much memory."""
    batch = recipe.trainer.batch_size
    message = f"training in batches of {batch} takes {told}."
    remedy = "Use a smaller batch, or encode it in pieces (learner.micro_batch)."
    return Problem("trainer.batch_size", message, remedy, batch, "warning" if severity == "warning" else "error")


def _measure(recipe: Recipe, facts: DataFacts, images: int, device: torch.device) -> tuple[Trial, list[str]]:
    prepare_torch(recipe)
    neutral = replace(facts, mean=(0.5,) * facts.channels, std=(0.25,) * facts.channels)
    settings = recipe.learner
    assert isinstance(settings, Learner.Config)
    settings = settings.restored() if images == recipe.trainer.batch_size else settings.restored().sampled(images)
    on_cuda, clock = device.type == "cuda", Clock(device)
    if on_cuda:
        held = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    engine = build_engine(recipe, settings.build(facts=neutral, clusters=recipe.clusters), device)
    engine.learner.train()
    engine.learner.rehearse(images)
    index = torch.arange(images, device=device)
    shape = (images, facts.channels, facts.size, facts.size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    batch = Batch(pixels, index, dict.fromkeys(facts.subsets, index))
    total, seconds = recipe.trainer.steps(facts.images or images), list[float]()
    warm = EAGER_STEPS + 2 if on_cuda else 1
    for number in range(warm + TIMED):
        clock.wait()
        start = time.perf_counter()
        engine.step(batch, Progress(number, 0, total, max(1, total)))
        clock.wait()
        seconds.append(time.perf_counter() - start)
        if not on_cuda and number >= warm and sum(seconds) > LONGEST:
            break
    timed = seconds[warm:]
    memory = torch.cuda.max_memory_allocated(device) - held if on_cuda else None
    step = statistics.median(timed) * recipe.trainer.batch_size / images
    return Trial(str(device), step, len(timed), images, recipe.trainer.batch_size, memory), engine.notes


def _images_there(recipe: Recipe, facts: DataFacts, device: torch.device) -> int:
    """Bytes of the decoded images, where they are to lie on the device."""
    need = ((facts.images or 0) + (facts.test_images or 0)) * facts.channels * facts.size**2
    return need if choose(recipe.data.placement, need, device)[0] == "device" else 0  # type: ignore[attr-defined]
