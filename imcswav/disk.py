"""Whether a run's folder can be made and its disk has room for what the run writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imcswav.callbacks import Callback
from imcswav.data import DataFacts
from imcswav.errors import Problem, RunError
from imcswav.files import existing
from imcswav.imaging.placement import size
from imcswav.learners import Learner
from imcswav.recipe import Recipe
from imcswav.runs import refuse_filled
from imcswav.start import on_meta

OUT = "--out"
"""Where a problem with the folder stands that the user named."""
REMEDY = "Make room there, or give another folder by --out."


def check_folder(out: str | Path | None, name: str) -> list[Problem]:
    """Whether the run folder may be made: ``out``, or a new one under runs/NAME. Nothing is made."""
    path = Path("runs") / name if out is None else Path(out)
    place, where = ("name", "") if out is None else ("", OUT)

    def problem(message: str, remedy: str = "") -> list[Problem]:
        return [Problem(place, message, remedy, where=where)]

    try:
        if out is not None:
            refuse_filled(path)
        there = existing(path)
    except OSError as error:
        return problem(f"The run folder {path} can't be looked at ({error.strerror or error}).", REMEDY)
    except RunError as error:
        return problem(str(error))
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return []
    reason = f"nothing may be written into {there}" if there.is_dir() else f"{there} is a file"
    return problem(f"The run folder {path} can't be written: {reason}.", "Give another --out.")


def check_room(recipe: Recipe, facts: DataFacts, out: str | Path | None) -> list[Problem]:
    """Whether the run folder's disk has room for the checkpoints at their most, and for the model."""
    written = bytes_written(recipe, facts)
    if written is None:
        return []
    need, why = written
    try:
        path = existing(Path("runs") / recipe.name if out is None else Path(out))
        disk = shutil.disk_usage(path)
    except OSError:  # check_folder tells
        return []
    free = disk.free
    if need <= free or not disk.total:  # some file systems tell nothing of their size
        return []
    message = f"the run writes {size(need)} ({why}) and {size(free)} are free in {path}."
    return [Problem("callbacks", message, REMEDY)]


def bytes_written(recipe: Recipe, facts: DataFacts) -> tuple[int, str] | None:
    """Most bytes that a run has on disk at once, and of what; None where the learner can't be built without weights."""
    learner = on_meta(recipe, facts)
    if learner is None:
        return None
    weights = _bytes(learner.state_dict())
    state = weights + _optimizer_bytes(recipe, learner)
    kept = sum(
        settings.room(state)
        for settings in recipe.callbacks.values()
        if isinstance(settings, Callback.Config) and settings.enabled
    )
    return kept + weights, f"{size(kept)} for checkpoints of {size(state)}, {size(weights)} for the model"


def _optimizer_bytes(recipe: Recipe, learner: Learner) -> int:
    """What the optimiser keeps: one step on the meta device makes its tensors, without memory. 0 where it can't."""
    try:
        optimizer = recipe.optimizer.build().make(learner.trainable(), learner.depths())
        for _, parameter in learner.trainable():
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()
        return _bytes(optimizer.state_dict()["state"])
    except Exception:  # a stranger's optimiser may read values, which there are none of
        return 0


def _bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.nbytes
    values: Iterable[Any] = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    return sum(map(_bytes, values))
