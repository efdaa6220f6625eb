"""Softmax: codes without any balance, as in self-distillation; alone they can collapse onto one prototype."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from imcswav.plugins import hookimpl
from imcswav.solvers import Solver


class Softmax(Solver, name="softmax"):
    """Softmax of each image's scores over a temperature."""

    class Config(Solver.Config):
        temperature: float = Field(0.05, gt=0)
        """Divides the scores; smaller gives harder codes."""

    config: Config

    def compilable(self) -> bool:
        """Always."""
        return True

    def forward(self, scores_GBP: Tensor) -> Tensor:
        """Codes (G, B, P), rows sum to 1."""
        dtype = torch.promote_types(scores_GBP.dtype, torch.float32)
        return (scores_GBP.to(dtype) / self.config.temperature).softmax(-1)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Softmax]
