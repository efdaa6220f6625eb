"""Optimizers: torch's, chosen by name."""

from __future__ import annotations

import inspect
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
        """The torch optimiser over these parameters, fused where torch has the kernel: on CUDA and the CPU.

        On CUDA it can be recorded, where torch makes a difference.
        """
        chosen, algorithm = list(parameters), type(self).algorithm
        devices = {parameter.device.type for parameter in chosen}
        options = {"fused": devices <= {"cuda", "cpu"}}
        if devices == {"cuda"} and "capturable" in inspect.signature(algorithm).parameters:
            options["capturable"] = True
        return algorithm(chosen, **self.config.model_dump(), **options)
