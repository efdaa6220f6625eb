"""Adam with decoupled weight decay (Loshchilov & Hutter 2017, arXiv 1711.05101)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from imcswav.optimizers import Optimizer
from imcswav.plugins import hookimpl

Beta = Annotated[float, Field(ge=0, lt=1)]


class AdamW(Optimizer, name="adamw"):
    """AdamW, fused; each step first shrinks the parameter by learning rate times ``weight_decay``."""

    class Config(Optimizer.Config):
        betas: tuple[Beta, Beta] = (0.9, 0.999)
        """Decay of the running means of the gradient and of its square."""
        eps: float = Field(1e-8, gt=0)
        """Added to the root of the second mean."""
        weight_decay: float = Field(0.01, ge=0)
        """Times the learning rate, the share a parameter loses in a step."""

    config: Config
    algorithm = torch.optim.AdamW


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [AdamW]
