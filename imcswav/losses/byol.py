"""Agreement of a prediction with a slowly moving target (BYOL, Grill et al. 2020, arXiv 2006.07733, eq. 2)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from torch import Tensor

from imcswav.errors import Problem, RecipeError
from imcswav.heads import HeadName
from imcswav.losses import Loss
from imcswav.losses._outputs import matching, pairs, single
from imcswav.plugins import hookimpl
from imcswav.step import Step


class BYOL(Loss, name="byol"):
    """Predict the target's embedding of one global view from another view of the image.

    Mean over images, target views g and predicting views v ≠ g of 2 − 2 cos(p_v, z_g), p the predictions and z the
    targets, which carry no gradient: between 0 and 4. At least float32, whatever the precision of the heads.
    """

    class Config(Loss.Config):
        predictions: HeadName = "predictor"
        """Head whose output (V, B, D) is p."""
        targets: HeadName = "teacher.projection"
        """Output (G, B, D) that is z; a teacher's, as a rule."""
        views: Literal["global", "all"] = "global"
        """Views that predict: the global ones, as published, or the local ones too."""

    config: Config

    def forward(self, step: Step) -> Tensor:
        """The scalar loss; raises RecipeError when no view can predict another one's target, or widths differ."""
        predictions, targets = matching(self, step, "predictions", "targets")
        found = pairs(predictions, targets, step.global_views, local=self.config.views == "all")
        if not found:
            message = (
                f"no view can predict another: '{self.config.predictions}' saw views {list(predictions.views)}, "
                f"'{self.config.targets}' {list(targets.views)}, of which {step.global_views} are global."
            )
            remedy = "Give it at least two global crops."
            raise RecipeError("loss byol", [Problem("targets", message, remedy, self.config.targets)])
        p_VBD, z_GBD = (_unit(output.tensor) for output in (predictions, targets))
        cosines = torch.stack([(p_VBD[v] * z_GBD[g].detach()).sum(-1).mean() for v, g in found])
        step.logs["byol/cosine"] = cosines.detach().mean()
        return 2 - 2 * cosines.mean()


def _unit(x_VBD: Tensor) -> Tensor:
    return F.normalize(single(x_VBD), dim=-1)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [BYOL]
