"""What learners, optimizers, schedules and callbacks must do."""

from __future__ import annotations

import inspect
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imcswav.callbacks import Callback
from imcswav.contract.rules import (
    CLUSTERS,
    IMAGES,
    PROGRESS,
    SIZE,
    Check,
    build,
    draw,
    finite_gradients,
    pictures,
    require,
)
from imcswav.data import Batch, DataFacts
from imcswav.step import Progress


def _learner(config: Any, runtime: dict[str, Any]) -> None:
    learner, batch = _student(config, runtime)
    if not learner.trains:
        return
    twin = deepcopy(learner)
    scalars = learner.train()(batch, PROGRESS, 1)
    require(all(isinstance(value, Tensor) and value.shape == () for value in scalars.values()), "not all scalars")
    require(bool(scalars["loss"].isfinite()), f"{scalars['loss']}")
    torch.autograd.backward(scalars["loss"])
    require(any(parameter.grad is not None for parameter in learner.parameters()), "nothing has a gradient")
    require(finite_gradients(learner), "a gradient isn't finite")
    require(
        torch.equal(twin.train()(batch, PROGRESS, 1)["loss"], scalars["loss"]),
        "the same seed gave another loss",
    )


def _learner_embeds(config: Any, runtime: dict[str, Any]) -> None:
    learner, batch = _student(config, runtime)
    with torch.no_grad():
        embedding = learner.eval().embed(batch.images)
    count, chances_NK = len(batch.images), embedding.probabilities
    require(embedding.features.dim() == 2 and len(embedding.features) == count, "features must be (N, F)")
    if chances_NK is not None:
        require(chances_NK.shape == (count, learner.clusters), f"probabilities of shape {tuple(chances_NK.shape)}")
        require(torch.allclose(chances_NK.sum(1), torch.ones(count), atol=1e-4), "rows don't sum to 1")


def _student(config: Any, runtime: dict[str, Any]) -> tuple[Any, Any]:
    facts = DataFacts(IMAGES, 3, SIZE, (0.5,) * 3, (0.25,) * 3)
    batch = runtime.get("batch") or Batch(pictures(3, IMAGES), torch.arange(IMAGES))
    return build(config, runtime, facts=facts, clusters=CLUSTERS), batch


def _optimizer(config: Any, runtime: dict[str, Any]) -> None:
    weight, bias, idle = (nn.Parameter(draw(*shape).float()) for shape in ((4, 3), (4,), (2,)))
    before, rested = weight.detach().clone(), idle.detach().clone()
    optimizer = build(config, runtime).make([("weight", weight), ("bias", bias), ("idle", idle)])
    require(isinstance(optimizer, torch.optim.Optimizer), f"make gives {type(optimizer).__name__}")
    require(all(group["lr"] == config.lr for group in optimizer.param_groups), "lr is not the Config's")
    for _ in range(3):
        optimizer.zero_grad()
        torch.autograd.backward(weight.square().sum() + bias.square().sum())
        optimizer.step()
    require(bool(weight.isfinite().all()) and not torch.equal(weight, before), "the weight didn't move")
    require(torch.equal(idle, rested) and idle not in optimizer.state, "a parameter without gradient was touched")


def _schedule(config: Any, runtime: dict[str, Any]) -> None:
    schedule = build(config, runtime)
    for step in range(PROGRESS.steps):
        factor = schedule.factor(Progress(step, step // PROGRESS.steps_per_epoch, PROGRESS.steps, 10))
        require(bool(np.isfinite(factor)) and factor >= 0, f"{factor} at step {step}")


def _callback(config: Any, runtime: dict[str, Any]) -> None:
    callback = build(config, runtime)
    for name, hook in vars(Callback).items():
        if inspect.isfunction(hook) and not name.startswith("_"):
            handed = [None] * (len(inspect.signature(hook).parameters) - 1)
            inspect.signature(getattr(callback, name)).bind(*handed)


CHECKS: dict[str, dict[str, Check]] = {
    "learner": {
        "one step gives a finite loss with a gradient": _learner,
        "embeds images": _learner_embeds,
    },
    "optimizer": {"makes a torch optimiser that moves what has a gradient": _optimizer},
    "schedule": {"a finite factor of at least 0 at every step": _schedule},
    "callback": {"its hooks take what the trainer hands over": _callback},
}
