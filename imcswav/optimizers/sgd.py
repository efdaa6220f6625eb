"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import nn

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

    def make(
        self, named_parameters: Iterable[tuple[str, nn.Parameter]], depths: Mapping[str, int] | None = None
    ) -> torch.optim.Optimizer:
        """As for all, with momentum buffers from zero: the same steps, and parameters may join in later.

        torch's fused kernel wants buffers of all or of none, but frozen parameters have none yet.
        """
        optimizer = super().make(named_parameters, depths)
        if self.config.momentum:
            optimizer.register_step_pre_hook(_fill_buffers)
        return optimizer


def _fill_buffers(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [SGD]
