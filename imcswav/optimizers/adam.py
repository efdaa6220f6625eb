"""Adam (Kingma & Ba 2014, arXiv 1412.6980)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from imcswav.optimizers import Optimizer
from imcswav.plugins import hookimpl

Beta = Annotated[float, Field(ge=0, lt=1)]


class Adam(Optimizer, name="adam"):
    """Adam, fused; weight decay is added to the gradient. ``adamw`` is the decoupled one."""

    class Config(Optimizer.Config):
        betas: tuple[Beta, Beta] = (0.9, 0.999)
        """Decay of the running means of the gradient and of its square."""
        eps: float = Field(1e-8, gt=0)
        """Added to the root of the second mean."""
        weight_decay: float = Field(0.0, ge=0)
        """Times the parameter, added to its gradient."""

    config: Config
    algorithm = torch.optim.Adam


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Adam]
