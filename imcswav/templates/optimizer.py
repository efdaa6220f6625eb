"""RMSprop (Tieleman and Hinton, lecture 6.5 of Neural Networks for Machine Learning, 2012)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from imcswav.optimizers import Optimizer
from imcswav.plugins import hookimpl


def _rmsprop(groups: Any, *, fused: bool, **settings: Any) -> torch.optim.Optimizer:
    """torch's RMSprop, which has no fused kernel to choose."""
    return torch.optim.RMSprop(groups, **settings)


class Mine(Optimizer, name="mine"):
    """The gradient over the root of the running mean of its square."""

    class Config(Optimizer.Config):
        alpha: float = Field(0.99, ge=0, lt=1)
        """Decay of the running mean."""
        momentum: float = Field(0.0, ge=0, lt=1)
        """Share of the last update that is added."""
        weight_decay: float = Field(0.0, ge=0)
        """Times the parameter, added to its gradient."""

    config: Config
    algorithm = staticmethod(_rmsprop)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
