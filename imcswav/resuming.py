"""What a checkpoint remembers of its recipe, and what may have changed when a run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from imcswav import checkpoint
from imcswav.distributed import rank, world_size
from imcswav.errors import RunError
from imcswav.learners import TrainingState
from imcswav.recipe import Recipe
from imcswav.recipe.flat import flat
from imcswav.runs import PLACE, within
from imcswav.seeding import mix

FREE = (
    *PLACE, "name", "data", "init", "callbacks", "clusterer", "evaluation", "predict", "trainer.epochs",
    "trainer.max_steps",
)  # fmt: skip
"""Dotted paths of what a run may go on with another value of: how long, where and watched by what it is trained, and
what is made of the network afterwards. Images are told apart by their digest, not by where they lie."""
SHOWN = 3
ABSENT = "absent"


def remembered(recipe: Recipe) -> dict[str, str]:
    """The settings that decide the training, as JSON by dotted path, and the version that names them."""
    from imcswav import __version__

    settings = {path: value for path, value in flat(recipe.tables()).items() if not within(path, FREE)}
    return {"": __version__, **{path: json.dumps(value, default=str) for path, value in settings.items()}}


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The settings that differ, in words; "" where none does.

    Of another version only settings that both have count: what came or went with a version is no change of a recipe.
    """
    paths = [path for path in {**then, **now} if path]
    if then.get("") != now.get(""):
        paths = [path for path in paths if path in then and path in now]
    found = [path for path in paths if then.get(path) != now.get(path)]
    told = [f"{path} was {then.get(path, ABSENT)} and is now {now.get(path, ABSENT)}" for path in found[:SHOWN]]
    return "; ".join(told + ([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []))


def missing(state: Mapping[str, Any], needed: tuple[str, ...]) -> str:
    """The entries that a checkpoint lacks, in words."""
    return ", ".join(name for name in needed if name not in state)


def by_ranks(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's state with what each process has for itself, also of a version that knew of one process only."""
    if "ranks" in state or "generators" not in state:
        return state
    return {**state, "ranks": [{"generators": state["generators"], "learner": {}}]}


def own_state(learner: nn.Module, device: torch.device) -> dict[str, Any]:
    """What of the state each process has for itself: random generators, and what its own images left in the learner."""
    own = {} if world_size() == 1 else {name: value.cpu() for name, value in _own_tensors(learner).items()}
    return {"generators": checkpoint.generators(device), "learner": own}


def restore_own(learner: nn.Module, state: Mapping[str, Any], device: torch.device) -> None:
    """Put it back; raises RunError where the run went on with another number of processes and that matters.

    Generators are drawn from by little (dropout and the like): other processes begin with new ones.
    """
    found = state["ranks"]
    if len(found) == world_size():
        checkpoint.restore_generators(found[rank()]["generators"], device)
        for name, value in _own_tensors(learner).items():
            if name in found[rank()]["learner"]:
                value.copy_(found[rank()]["learner"][name])
    elif any(len(value) for value in _own_tensors(learner).values()):
        raise RunError(
            f"The run was trained by {len(found)} processes, each with a share of past images, and there are "
            f"{world_size()} now; go on with {len(found)}."
        )
    else:
        torch.manual_seed(mix(state["step"], rank()))


def _own_tensors(learner: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that differ from process to process, by name."""
    parts = {name: part for name, part in learner.named_modules() if isinstance(part, TrainingState)}
    return {f"{name}.{key}": part.get_buffer(key) for name, part in parts.items() for key in part.of_rank}
