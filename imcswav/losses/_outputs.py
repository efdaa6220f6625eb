"""What several losses do with the outputs of a step."""

from __future__ import annotations

import torch
from torch import Tensor

from imcswav.step import Output


def single(x: Tensor) -> Tensor:
    """The numbers in float32 at least: half precision becomes single, double stays."""
    wide: Tensor = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide


def global_places(output: Output, global_views: int) -> list[int]:
    """Places in an output's tensor that hold global views."""
    return [place for place, view in enumerate(output.views) if view < global_views]


def pairs(one: Output, other: Output, global_views: int, local: bool = False) -> list[tuple[int, int]]:
    """Places of two different views, the second global and the first too unless ``local`` ones may stand there."""
    first = range(len(one.views)) if local else global_places(one, global_views)
    second = global_places(other, global_views)
    return [(v, g) for v in first for g in second if one.views[v] != other.views[g]]
