"""Uniform: codes that say nothing, the baseline a real solver has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from imcswav.plugins import hookimpl
from imcswav.solvers import Solver


class Uniform(Solver, name="uniform"):
    """1 / P for every prototype, whatever the scores."""

    def compilable(self) -> bool:
        """Always."""
        return True

    def forward(self, scores_GBP: Tensor) -> Tensor:
        """Codes (G, B, P), all entries alike."""
        dtype = torch.promote_types(scores_GBP.dtype, torch.float32)
        return torch.full_like(scores_GBP, 1 / scores_GBP.shape[2], dtype=dtype)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Uniform]
