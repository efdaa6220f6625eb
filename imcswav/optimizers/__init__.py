"""Optimizers: torch's, chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from imcswav.component import Component


class Optimizer(Component, kind="optimizer"):
    """Makes a torch optimiser. A parameter whose ``grad`` is None is skipped: no decay, no state."""

    class Config(Component.Config):
        lr: float = Field(gt=0)
        """Learning rate; the schedule multiplies it."""

    config: Config
    algorithm: ClassVar[Callable[..., torch.optim.Optimizer]]
    """torch's class; the Config's settings are its keywords."""

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimiser over these parameters, fused where torch has the kernel: on CUDA and the CPU."""
        chosen = list(parameters)
        fused = all(parameter.device.type in ("cuda", "cpu") for parameter in chosen)
        return type(self).algorithm(chosen, **self.config.model_dump(), fused=fused)
