"""SGD with a learning rate of its own for each tensor (LARS; You et al. 2017, arXiv 1708.03888)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from imcswav.optimizers import Optimizer
from imcswav.plugins import hookimpl


def _lars(parameters: Any, **settings: Any) -> torch.optim.Optimizer:
    from timm.optim.lars import Lars  # a second to import, so only where a recipe asks for it

    optimizer: torch.optim.Optimizer = Lars(parameters, **settings)
    return optimizer


class LARS(Optimizer, name="lars"):
    """timm's LARS: the gradient of a tensor w, decay included, is scaled before it enters SGD with momentum.

    v ← m v + r (g + β w), w ← w − lr v with r = ``trust_coeff`` ‖w‖ / (‖g‖ + β ‖w‖ + ``eps``), and r = 1 where ‖w‖ or
    ‖g‖ is 0: a tensor moves by about ``trust_coeff`` · lr of its length, however large its gradient. The defaults are
    those that SwAV was published with, which calls it LARC without clipping.
    """

    class Config(Optimizer.Config):
        momentum: float = Field(0.9, ge=0, lt=1)
        """m, the share of the last move that is kept."""
        weight_decay: float = Field(0.0, ge=0)
        """β, times the parameter, added to its gradient before scaling."""
        trust_coeff: float = Field(0.001, gt=0)
        """How far a tensor may move, as a share of its length, at a learning rate of 1."""
        trust_clip: bool = False
        """LARC's clipping: r is at most the learning rate, then divided by it, so that no tensor moves faster than by
        plain SGD."""
        always_adapt: bool = True
        """Scale tensors without weight decay too; off, those of ``decay_norms = false`` move as by plain SGD."""
        eps: float = Field(1e-8, gt=0)
        """Added to the norms that divide."""

    config: Config
    algorithm = staticmethod(_lars)
    implementation = {"foreach": True}
    """Many tensors at once; timm's loop over single ones would make the host wait for a learning rate on the device."""


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [LARS]
