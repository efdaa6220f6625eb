"""What several losses do with the outputs of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imcswav.errors import Problem, RecipeError
from imcswav.step import Output, Step

if TYPE_CHECKING:
    from imcswav.losses import Loss


def single(x: Tensor) -> Tensor:
    """The numbers in float32 at least: half precision becomes single, double stays."""
    wide: Tensor = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide


def matching(loss: Loss, step: Step, setting: str, other: str) -> tuple[Output, Output]:
    """The outputs that two settings of a loss name; raises RecipeError where they have other widths."""
    names = getattr(loss.config, setting), getattr(loss.config, other)
    found = step.output(names[0]), step.output(names[1])
    widths = [output.tensor.shape[-1] for output in found]
    if widths[0] != widths[1]:
        message = f"'{names[0]}' has width {widths[0]}, and '{names[1]}' {widths[1]}."
        problem = Problem(setting, message, "Name two outputs of one width.", names[0])
        raise RecipeError(f"loss {loss.name}", [problem])
    return found


def global_places(output: Output, global_views: int) -> list[int]:
    """Places in an output's tensor that hold global views."""
    return [place for place, view in enumerate(output.views) if view < global_views]


def pairs(one: Output, other: Output, global_views: int, local: bool = False) -> list[tuple[int, int]]:
    """Places of two different views, the second global and the first too unless ``local`` ones may stand there."""
    first = range(len(one.views)) if local else global_places(one, global_views)
    second = global_places(other, global_views)
    return [(v, g) for v in first for g in second if one.views[v] != other.views[g]]
