"""Parts of the suite: the time evaluation takes, and what a step's time is spent on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from imcswav.batchnorm import evaluating, reestimate
from imcswav.bench.clock import Clock, wall_seconds
from imcswav.bench.subject import Subject
from imcswav.data import Data
from imcswav.errors import ImcswavError
from imcswav.evaluate import scores
from imcswav.model import Model
from imcswav.recipe import Recipe

EVALUATED = 10_000
"""Images, those of the data over and over: as many as CIFAR-10 has for testing."""
PROFILED_STEPS = 3
DEAREST = 20


def reason(error: Exception) -> str:
    """An error as one sentence."""
    first = (str(error).strip().splitlines() or [""])[-1 if isinstance(error, ImcswavError) else 0].strip()
    return f"{type(error).__name__}: {first}"[:200]


def evaluation(recipe: Recipe, data: Data, device: torch.device) -> list[dict[str, Any]]:
    """Seconds to estimate batch-norm statistics anew, and to embed and assign whole images."""
    subject, clock = Subject(recipe, data, device), Clock(device)
    subject.step()
    learner = subject.learner
    model = Model(
        learner, facts=data.facts, clusters=recipe.clusters, views=recipe.predict.views,
        flip=recipe.predict.flip, precision=recipe.trainer.precision,
    )  # fmt: skip
    images = data.train.images
    chosen = images[torch.arange(EVALUATED, device=images.device) % len(images)].to(device)

    def statistics() -> None:
        mode, size = recipe.predict.bn_statistics, recipe.trainer.batch_size
        reestimate(learner, chosen, model.embed_upright, mode=mode, batch_size=size, seed=recipe.seed)

    def assign() -> None:
        embedding = model.embed(chosen)
        if embedding.probabilities is not None:
            model.assign(embedding)

    work: dict[str, Callable[[], Any]] = {
        "batch-norm statistics": statistics,
        "embed and assign": assign,
    }
    if (data.test or data.train).labels is not None:
        work["scores as during training"] = lambda: scores(model, data, recipe)
    found = []
    with evaluating(learner), torch.no_grad():
        for name, one in work.items():
            count = len(data.test or data.train) if name.startswith("scores") else EVALUATED
            try:
                one()
                found.append({"name": name, "images": count, "seconds": wall_seconds(clock, one)})
            except Exception as error:
                found.append({"name": name, "images": count, "failed": reason(error)})
    return found


def dearest(recipe: Recipe, data: Data, device: torch.device) -> list[dict[str, Any]]:
    """The operations of a step that take most of the device's time, by torch's profiler."""
    subject = Subject(recipe, data, device)
    subject.warm_up()
    on_cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    with profile(activities=activities) as seen:
        for _ in range(PROFILED_STEPS):
            subject.step()
        Clock(device).wait()
    wanted = "CUDA" if on_cuda else "CPU"  # an operator's row would count its kernels again
    times = {
        row.key: (row.count, row.self_device_time_total if on_cuda else row.self_cpu_time_total)
        for row in seen.key_averages()
        if row.device_type.name == wanted and not row.is_user_annotation
    }
    total = sum(spent for _, spent in times.values()) or 1
    order = sorted(times, key=lambda name: times[name][1], reverse=True)[:DEAREST]
    return [
        {
            "name": name[:70],
            "calls": times[name][0] / PROFILED_STEPS,
            "seconds": times[name][1] / 1e6 / PROFILED_STEPS,
            "share": times[name][1] / total,
        }
        for name in order
    ]
