"""Figures of a recipe's training step: time, its shares, counts, memory, waiting, and use of the device."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import torch

from imcswav.bench.clock import Clock, matrix_rate, wall_seconds
from imcswav.bench.counts import Counts, count, floating_point_operations, owned
from imcswav.bench.shares import shares
from imcswav.bench.subject import EAGER, Subject, changed, ready_crops
from imcswav.data import Data
from imcswav.recipe import Recipe

STEPS = {"cuda": 50, "cpu": 3}


def measure(recipe: Recipe, data: Data, device: torch.device) -> dict[str, Any]:
    """Everything about one step of ``recipe``, as plain values; times are seconds, memory is bytes."""
    clock = Clock(device)
    figures = whole_step(recipe, data, device)
    eager = Subject(changed(recipe, EAGER), data, device)
    eager.warm_up()
    operations = floating_point_operations(eager.forward_backward)
    dtype = torch.bfloat16 if figures["precision"] == "bf16" else torch.float32
    rate = matrix_rate(clock, dtype)
    found = figures | {
        "phases": shares(eager, clock, _steps(device)),
        "counts": step_counts(eager),
        "floating_point_operations": operations,
        "matrix_rate": rate,
        "utilisation": operations / figures["seconds"] / rate,
    }
    if hasattr(eager.learner, "views"):
        ready = Subject(recipe, data, device, ready=True)
        ready.warm_up()
        found["seconds_on_ready_crops"] = clock.seconds(ready.step, _steps(device))
    return found


def whole_step(recipe: Recipe, data: Data, device: torch.device) -> dict[str, Any]:
    """Time, memory and waiting of the step as training does it, compiled and recorded where it is."""
    subject, clock = Subject(recipe, data, device), Clock(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # before eager steps: a replay allocates nothing
    subject.warm_up()
    steps = _steps(device)
    seconds = clock.seconds(subject.step, steps)
    done: list[int] = []
    wall = wall_seconds(clock, lambda: done.append(subject.train(steps)))
    return {
        "batch": subject.batch_size,
        "precision": subject.engine.precision,
        "time": clock.unit,
        "seconds": seconds,
        "images_per_second": subject.batch_size / seconds,
        "images_per_wall_second": done[0] * subject.batch_size / wall,
        **memory_and_waits(subject),
        "notes": list(subject.engine.notes),
    }


def memory_and_waits(subject: Subject) -> dict[str, Any]:
    """Bytes at the peak and how often the host waits for the device, in one warm training step.

    On CUDA as torch reports them, the peak since before warm-up. Elsewhere memory is what the step keeps for backward,
    and waits are the operators that would make the host wait for a GPU; neither is known of a compiled step.
    """
    if subject.device.type == "cuda":
        waits = _synchronisations(subject)
        peak = torch.cuda.max_memory_allocated(subject.device)
        return {"memory": peak, "memory_is": "peak allocated on the device", "waits": waits}
    if subject.recipe.trainer.compile is True:
        return {"memory": None, "memory_is": "not known of a compiled step", "waits": None}
    counts = count(subject.step, owned(subject.learner, *(batch.images for batch in subject.batches)))
    return {"memory": counts.saved, "memory_is": "kept for backward", "waits": counts.waits.total()}


def _synchronisations(subject: Subject) -> int:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            subject.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def step_counts(subject: Subject) -> dict[str, Any]:
    """Operators and saved bytes of one forward and backward pass, eager; on ready crops where that can be."""
    plain, half = (count_pass(subject, precision) for precision in ("fp32", "bf16"))
    return {
        "operations": plain.operations + plain.views,
        "launched": plain.operations,
        "saved": plain.saved,
        "saved_bf16": half.saved,
        "on_ready_crops": hasattr(subject.learner, "views"),
    }


def count_pass(subject: Subject, precision: str = "fp32", images: int | None = None) -> Counts:
    """Counts of one forward and backward pass on (so many images of) a batch, crops being ready."""
    learner: Any = subject.learner
    batch = subject.batch
    if images is not None:
        batch = dataclasses.replace(batch, images=batch.images[:images], index=batch.index[:images])
    progress = subject.progress

    def work() -> None:
        learner.zero_grad(set_to_none=True)
        with torch.autocast(subject.device.type, torch.bfloat16, enabled=precision == "bf16"):
            scalars = learner(batch, progress, progress.step)
        scalars["loss"].backward()

    if not hasattr(learner, "views"):
        work()  # fills tables that stay
        return count(work, owned(learner, batch.images))
    crops = learner.views(batch.images, progress.step)
    with ready_crops(learner, crops):
        work()
        return count(work, owned(learner, batch.images, *crops))


def _steps(device: torch.device) -> int:
    return STEPS.get(device.type, 3)
