"""What a recipe would cost, measured on two images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from imcswav.blame import culprit
from imcswav.data import Batch, DataFacts
from imcswav.errors import ImcswavError, Problem, RecipeError, short_of_memory
from imcswav.imaging.read import physical_memory
from imcswav.learners import Learner
from imcswav.protocol import training_facts
from imcswav.recipe import Recipe
from imcswav.start import on_meta
from imcswav.step import Progress

SAMPLE = 2
COPIES = 4
"""float32 copies of each parameter while training: weight, gradient, two of Adam's moments."""


def check_memory(recipe: Recipe, facts: DataFacts) -> list[Problem]:
    """Whether weights and buffers fit into main memory at all; nothing of them is made to find out."""
    with torch.random.fork_rng(devices=[]):
        learner = on_meta(recipe, facts)
    if learner is None:  # for building it to tell
        return []
    tensors = {name: tensor.nbytes for name, tensor in (*learner.named_parameters(), *learner.named_buffers())}
    need, have = sum(tensors.values()), physical_memory()
    if need <= have:
        return []
    largest = max(tensors, key=tensors.__getitem__)
    message = (
        f"its weights and buffers need {need / 1e9:,.1f} GB of memory, most of it {largest}; here are {have / 1e9:.1f}."
    )
    return [Problem("learner", message, "Ask for less.")]


@dataclass(frozen=True)
class Cost:
    """``operations``: floating-point operations an image of one training step, forward and backward.

    ``memory`` in bytes: weights with their optimiser state, what else is held (a teacher, a queue), what backward keeps
    of a batch in float32, and the images.
    """

    parameters: int
    operations: float
    images: int
    steps_per_epoch: int
    steps: int
    memory: int


def estimate(recipe: Recipe) -> Cost:
    """Build the learner without reading data and take one step on two random images; nothing is downloaded.

    Raises RecipeError when the network is larger than main memory, when the step itself fails (parts that can't work
    together) or the optimiser's groups match nothing.
    """
    facts = training_facts(recipe, recipe.data.facts())  # type: ignore[attr-defined]
    assert isinstance(recipe.learner, Learner.Config)
    if problems := check_memory(recipe, facts):
        raise RecipeError(recipe.name, problems)
    channels = facts.channels
    neutral = replace(facts, mean=(0.5,) * channels, std=(0.25,) * channels)
    learner: Learner = recipe.learner.restored().sampled(SAMPLE).build(facts=neutral, clusters=recipe.clusters)
    recipe.optimizer.build().groups(learner.trainable(), learner.depths())
    operations, saved = _dry_step(recipe, learner, facts) if recipe.trainer.epochs else (0.0, 0)
    parameters = sum(p.numel() for p in learner.parameters() if p.requires_grad)
    held = sum(t.nbytes for t in (*learner.parameters(), *learner.buffers()) if not t.requires_grad)
    images, settings = facts.images or 0, recipe.trainer
    per_epoch = images // settings.batch_size
    pixels = images * facts.channels * facts.size**2
    memory = COPIES * 4 * parameters + held + saved * settings.batch_size / SAMPLE + pixels
    return Cost(parameters, operations / SAMPLE, images, per_epoch, settings.steps(images), int(memory))


def _dry_step(recipe: Recipe, learner: Learner, facts: DataFacts) -> tuple[float, int]:
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    shape = (SAMPLE, facts.channels, facts.size, facts.size)
    index = torch.arange(SAMPLE)
    batch = Batch(torch.randint(0, 256, shape, dtype=torch.uint8), index, dict.fromkeys(facts.subsets, index))
    progress = Progress(0, 0, 1, 1)
    try:
        learner.rehearse(SAMPLE)
        learner.prepare(progress)
        learner.before_step(progress)
        with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            learner(batch, progress, recipe.seed)["loss"].backward()
    except ImcswavError:
        raise
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
        if full := short_of_memory(error):
            raise RecipeError(recipe.name, [Problem("learner", full)]) from error
        who = culprit(error)
        message = f"one step on two random images fails: {f'{who}: ' if who else ''}{type(error).__name__}: {error}."
        raise RecipeError(recipe.name, [Problem("learner", message, "Check that its parts fit each other.")]) from error
    own = {p.untyped_storage().data_ptr() for p in learner.parameters()}
    return counter.get_total_flops(), sum(size for pointer, size in kept.items() if pointer not in own)
