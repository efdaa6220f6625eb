"""Losses: functions of one training step's outputs."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from imcswav.component import Component
from imcswav.errors import Problem
from imcswav.step import Step


class Loss(Component, nn.Module, kind="loss"):
    """A loss maps a Step to a scalar. Only the learner multiplies it by ``weight``."""

    class Config(Component.Config):
        weight: float = Field(1.0, ge=0)
        """Factor of this loss in the total."""

        def check_batch(self, images: int, clusters: int) -> list[Problem]:
            """Problems of batches of so many images with so many clusters."""
            return []

    config: Config

    def forward(self, step: Step) -> Tensor:
        """The scalar loss, a mean over images, unweighted."""
        raise NotImplementedError
