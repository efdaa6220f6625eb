"""Sharpen: targets made of the predictions themselves, held back where a cluster is large already."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from imcswav.distributed import batch_sum
from imcswav.solvers import Solver


class Sharpen(Solver, name="sharpen"):
    """q_ik ∝ p_ik^power / f_k^frequency with p = softmax(scores / temperature) and f_k = Σ_i p_ik, of each view apart.

    The defaults are the paper's, q ∝ p / √f (Dizaji et al. 2017, arXiv 1704.06327, its target distribution): nothing is
    sharpened, only large clusters are held back. ``power = 2, frequency = 1`` is what the authors' program does, the
    target of DEC (Xie et al. 2016, arXiv 1511.06335).
    """

    class Config(Solver.Config):
        power: float = Field(1.0, gt=0)
        """Exponent of the prediction; above 1 it sharpens."""
        frequency: float = Field(0.5, ge=0)
        """Exponent of the cluster's size; 0 leaves sizes alone."""
        temperature: float = Field(1.0, gt=0)
        """Divides the scores before the softmax; about 0.1 where they are cosines."""

    config: Config

    def forward(self, scores_GBP: Tensor) -> Tensor:
        """Codes (G, B, P)."""
        scores_GBP = scores_GBP.to(torch.promote_types(scores_GBP.dtype, torch.float32))
        logs_GBP = (scores_GBP / self.config.temperature).log_softmax(-1)
        tiny = torch.finfo(logs_GBP.dtype).tiny
        sizes_G1P = batch_sum(logs_GBP.exp().sum(1, keepdim=True)).clamp_min(tiny)
        return (self.config.power * logs_GBP - self.config.frequency * sizes_G1P.log()).softmax(-1)
