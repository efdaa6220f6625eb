"""Stochastic gradient descent with momentum."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator

from imcswav.optimizers import Optimizer
from imcswav.plugins import hookimpl


class SGD(Optimizer, name="sgd"):
    """SGD, fused; weight decay is added to the gradient."""

    class Config(Optimizer.Config):
        momentum: float = Field(0.9, ge=0, lt=1)
        """Share of the last move that is kept."""
        weight_decay: float = Field(0.0, ge=0)
        """Times the parameter, added to its gradient."""
        nesterov: bool = False
        """Look ahead by the momentum (Nesterov)."""

        @model_validator(mode="after")
        def _nesterov_moves(self) -> SGD.Config:
            if self.nesterov and not self.momentum:
                raise ValueError("nesterov needs a momentum above 0")
            return self

    config: Config
    algorithm = torch.optim.SGD


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [SGD]
