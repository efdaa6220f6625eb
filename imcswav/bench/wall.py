"""Whole training steps beside the loop's: on ready crops, and from stored images by the wall clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from imcswav.bench import loop
from imcswav.bench.against import REPEATS, Contest
from imcswav.bench.clock import Clock, wall_seconds
from imcswav.bench.reference import plain_network
from imcswav.bench.subject import Subject
from imcswav.data import Data
from imcswav.optimizers import Optimizer
from imcswav.recipe import Recipe


def whole_step(recipe: Recipe, data: Data, device: torch.device) -> Contest:
    """A training step on ready crops: encoder, heads, losses, backward, update."""
    subject, clock = Subject(recipe, data, device, ready=True), Clock(device)
    subject.warm_up()
    step, crops = loop_step(recipe, subject), subject.crops
    repeats = REPEATS.get(device.type, 1)
    unit = f"step, {subject.batch_size} images"
    return Contest(
        f"step on ready crops ({subject.engine.precision} against fp32)", unit,
        lambda: clock.seconds(subject.step, repeats), lambda: clock.seconds(lambda: step(crops), repeats),
    )  # fmt: skip


def from_images(recipe: Recipe, data: Data, device: torch.device, workers: int, batches: int) -> Contest:
    """Steps from stored images by the wall clock, the loop's crops made in worker processes."""
    subject, clock = Subject(recipe, data, device), Clock(device)
    subject.warm_up()
    views: Any = subject.learner.views
    size = subject.batch_size
    pictures = loop.pictures(_first(data, size * (batches + 1)))
    plain = loop.Augmentation(views.config, tuple(views.mean), tuple(views.std))
    step = loop_step(recipe, subject)

    def ours() -> float:
        return wall_seconds(clock, lambda: subject.train(batches)) / batches

    def theirs() -> float:
        found = iter(loop.loader(pictures, plain, size, workers))
        next(found)  # starting the workers is not counted

        def train() -> None:
            for groups in found:
                step([group.to(device, non_blocking=True).transpose(0, 1) for group in groups])

        return wall_seconds(clock, train) / batches

    name = f"step with augmentation, the loop's in {workers} workers"
    return Contest(name, f"step, {size} images, wall clock", ours, theirs)


def loop_step(recipe: Recipe, subject: Subject) -> Callable[[list[Tensor]], None]:
    """The loop's training step on crops, with an optimiser of its own."""
    network = plain_network(recipe, subject.learner)
    maker: Optimizer = recipe.optimizer.build()
    optimizer = maker.make(network.trainable(), network.depths())

    def step(crops: list[Tensor]) -> None:
        optimizer.zero_grad()
        loop.step(network, crops)["loss"].backward()
        optimizer.step()

    return step


def _first(data: Data, count: int) -> Tensor:
    images = data.train.images  # not a tensor where they are streamed
    return images[torch.arange(min(count, len(images)), device=images.device)]
