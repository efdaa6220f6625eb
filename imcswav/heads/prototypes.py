"""Prototypes: cosine scores against learned unit vectors (SwAV, arXiv 2006.09882)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from pydantic import Field
from torch import Tensor, nn

from imcswav.errors import Problem
from imcswav.heads import Head
from imcswav.plugins import hookimpl
from imcswav.step import Progress

FULL = 4
"""Prototypes an image of those balanced together, above which codes can't be sharp."""


class Prototypes(Head, name="prototypes"):
    """Scores in [−1, 1]: rows scaled to length 1, times the prototypes, whose rows are of length 1.

    The prototypes (P, D) start as a Linear layer's weight and are scaled back before every step, and for
    evaluation, between steps, wherever they are used. While frozen they have no gradient, so that the
    optimiser skips them: no decay, no state. A zero gradient would move them.
    """

    class Config(Head.Config):
        count: int = Field(1000, ge=2)
        """P, how many prototypes."""
        freeze_steps: int = Field(0, ge=0)
        """Optimiser steps from the start in which the prototypes stay where they are."""

        def out_features(self, in_features: int, clusters: int) -> int:
            """P."""
            return self.count

        def check_training(self, coded: int, steps: int | None) -> list[Problem]:
            """Warnings when batch and queue can't fill the prototypes evenly, and when they hardly ever move."""
            problems = []
            if self.count > FULL * coded:
                message = f"{self.count} prototypes are more than {coded} images balanced together can fill evenly."
                remedy = "Fewer prototypes, a larger batch or a queue give sharper codes."
                problems.append(Problem("count", message, remedy, self.count, severity="warning"))
            if steps is not None and self.freeze_steps > steps // 2:
                message = f"the prototypes rest for {self.freeze_steps} of the training's {steps} steps."
                remedy = "Freeze them for fewer steps, or train longer."
                problems.append(Problem("freeze_steps", message, remedy, self.freeze_steps, severity="warning"))
            return problems

    config: Config

    def __init__(self, config: Config, *, in_features: int, clusters: int) -> None:
        super().__init__(config, in_features=in_features, clusters=clusters)
        self.weight = nn.Linear(in_features, config.count, bias=False).weight  # PyTorch's own initialisation
        self._scale_rows()

    def forward(self, x_MD: Tensor) -> Tensor:
        """Scores (M, P) of rows (M, D)."""
        return self.score(x_MD)

    def score(self, x_MD: Tensor) -> Tensor:
        """Scores (…, P) of any embeddings (…, D), such as a queue's; at least float32, under autocast too."""
        with torch.autocast(x_MD.device.type, enabled=False):
            x_MD = x_MD.to(torch.promote_types(x_MD.dtype, self.weight.dtype))
            weight_PD = self.weight if self.training else F.normalize(self.weight, dim=-1)
            return F.linear(F.normalize(x_MD, dim=-1), weight_PD)

    def phase(self, progress: Progress) -> bool:
        """Whether the prototypes are frozen."""
        return progress.step < self.config.freeze_steps

    def before_step(self, progress: Progress) -> None:
        """Scale the prototypes back to length 1."""
        self._scale_rows()

    def before_update(self, progress: Progress) -> None:
        """While frozen, take the gradient away."""
        if self.phase(progress):
            self.weight.grad = None

    @torch.no_grad()
    def _scale_rows(self) -> None:
        self.weight.copy_(F.normalize(self.weight, dim=-1))


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Prototypes]
