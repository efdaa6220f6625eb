"""Optimizers: torch's, chosen by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimiser over these parameters."""
        raise NotImplementedError

    def fused(self, parameters: list[nn.Parameter]) -> dict[str, Any]:
        """``fused=True`` where torch has the fused kernel: floating parameters on CUDA or the CPU."""
        return {"fused": all(p.device.type in ("cuda", "cpu") for p in parameters)}
