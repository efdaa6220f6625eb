"""Codes that favour sure images and rarely used prototypes.

The target distribution of Xie et al., Unsupervised Deep Embedding for Clustering, 2016, arXiv 1511.06335, eq. 3.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from imcswav.plugins import hookimpl
from imcswav.solvers import Solver


class Mine(Solver, name="mine"):
    """Softmax, squared and divided by how much each prototype is used in the batch, rows scaled to sum to 1."""

    class Config(Solver.Config):
        temperature: float = Field(0.1, gt=0)
        """Divides the scores; smaller gives harder codes."""

    config: Config

    def forward(self, scores_GBP: Tensor) -> Tensor:
        """Codes (G, B, P), each view apart."""
        dtype = torch.promote_types(scores_GBP.dtype, torch.float32)
        soft_GBP = (scores_GBP.to(dtype) / self.config.temperature).softmax(-1)
        used_G1P = soft_GBP.sum(1, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
        sharp_GBP = soft_GBP.square() / used_G1P
        return sharp_GBP / sharp_GBP.sum(-1, keepdim=True)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
