"""What is measured: a recipe's training step, built as training builds it, without a run folder."""

from __future__ import annotations

import dataclasses
import gc
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from imcswav.build import INIT, build_engine
from imcswav.data import Batch, Data
from imcswav.learners import Learner
from imcswav.recipe import Recipe
from imcswav.recipe.files import load_recipe
from imcswav.seeding import mix
from imcswav.step import Progress

EAGER = {"trainer.compile": False, "trainer.cuda_graph": False}
"""Operator by operator, so that operators can be counted and told apart."""
BATCHES = 4
WARM_UP = {"cuda": 12, "cpu": 2}
"""Steps before anything is measured: on CUDA compilation, a few eager steps, and the recording of the graph."""


class Subject:
    """The training step of a recipe on a device, with a few batches of its data at hand.

    Its steps lie in the middle of the training, where warm-up and frozen parts are behind and losses have what they
    wait for. With ``ready`` its crops
    are made once, before the engine is, and handed to every step: ``crops``. Only the newest subject is to be run:
    what was compiled for earlier ones is forgotten.
    """

    def __init__(self, recipe: Recipe, data: Data, device: torch.device, *, ready: bool = False) -> None:
        self.recipe, self.data, self.device = recipe, data, device
        _forget()
        torch.manual_seed(mix(recipe.seed, INIT))
        assert isinstance(recipe.learner, Learner.Config)
        self.learner: Learner = recipe.learner.build(facts=data.facts, clusters=recipe.clusters)
        self.learner.train()
        self.batch_size = recipe.trainer.batch_size
        self.batches = list(self.fetched(BATCHES))
        self.crops: list[Tensor] = self._make_ready() if ready else []
        self.engine = build_engine(recipe, self.learner, device)
        self.learner.rehearse(len(data.train))
        per_epoch = len(data.train) // self.batch_size
        steps = recipe.trainer.steps(len(data.train))
        self.progress = Progress(steps // 2, steps // 2 // max(per_epoch, 1), steps, per_epoch)

    def _make_ready(self) -> list[Tensor]:
        learner: Any = self.learner
        crops: list[Tensor] = learner.views(self.batch.images, self.recipe.seed)
        learner.views = lambda images, seed: crops
        return crops

    @property
    def batch(self) -> Batch:
        """One batch."""
        return self.batches[0]

    def step(self) -> None:
        """One training step as training does it, on the next batch."""
        self.engine.step(self.batches[self.progress.step % len(self.batches)], self.progress)
        self.progress = dataclasses.replace(self.progress, step=self.progress.step + 1)

    def fetched(self, count: int) -> Iterator[Batch]:
        """At most so many batches of an epoch, as training gets them."""
        found: Any = self.data.batches(0, seed=self.recipe.seed, batch_size=self.batch_size)
        try:
            yield from itertools.islice(found, count)
        finally:
            if hasattr(found, "close"):  # a generator that reads ahead has threads to end
                found.close()

    def train(self, steps: int) -> int:
        """At most so many steps of an epoch, batches fetched as in training; returns how many there were."""
        done = 0
        for batch in self.fetched(steps):
            self.engine.step(batch, self.progress)
            done += 1
        return done

    def warm_up(self) -> None:
        """Steps that aren't measured."""
        for _ in range(WARM_UP.get(self.device.type, 2)):
            self.step()

    def forward(self) -> dict[str, Tensor]:
        """The scalars of a step, eagerly; gradients of the step before are gone."""
        self.learner.zero_grad(set_to_none=True)
        self.learner.prepare(self.progress)
        self.learner.before_step(self.progress)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.engine.precision == "bf16"):
            scalars: dict[str, Tensor] = self.learner(self.batch, self.progress, self.progress.step)
            return scalars

    def forward_backward(self) -> None:
        """Forward and backward, eagerly."""
        self.forward()["loss"].backward()


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with some settings changed; raises RecipeError when it can't be so."""
    return load_recipe(recipe.tables(), dict(changes))


@contextmanager
def ready_crops(learner: Any, crops: list[Tensor]) -> Iterator[None]:
    """Within, the learner is handed these crops instead of making its own."""
    views: Callable[..., list[Tensor]] = learner.views
    learner.views = lambda images, seed: crops
    try:
        yield
    finally:
        learner.views = views


def _forget() -> None:
    """Free what earlier subjects held: it would count as memory, and their compiled code as recompilations."""
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
