"""Swapped prediction between views (SwAV, arXiv 2006.09882; IMC-SwAV eq. 1, arXiv 2103.07368)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from imcswav.distributed import batch_sum
from imcswav.errors import Problem, RecipeError
from imcswav.heads import HeadName
from imcswav.losses import Loss
from imcswav.part import Part
from imcswav.plugins import hookimpl
from imcswav.solvers import Solver
from imcswav.step import Output, Step


class SwAV(Loss, name="swav"):
    """Predict each global view's code from every other view.

    Mean over global views i, views v ≠ i and images of −Σ_p q_i log softmax(u_v / τ), where the codes
    q_i = solver(u_i) carry no gradient. At least float32, whatever the precision of the scores.
    Logs ``swav/effective_prototypes``, exp of the entropy of the mean code: P when all are used alike.
    """

    class Config(Loss.Config):
        temperature: float = Field(0.1, gt=0)
        """τ, divides the scores before the softmax."""
        solver: Annotated[Solver.Config, Part("solver")] = {"name": "sinkhorn"}  # type: ignore[assignment]
        """Turns the global views' scores into codes."""
        scores: HeadName = "prototypes"
        """Head whose output (V, B, P) is read."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.solver: Solver = config.solver.build()

    def forward(self, step: Step) -> Tensor:
        """The scalar loss; raises RecipeError when the scores hold no pair of a global and another view."""
        output = step.output(self.config.scores)
        # the learner's outputs are image-major in memory: this way round nothing is copied
        scores_BVP = output.tensor.to(torch.promote_types(output.tensor.dtype, torch.float32)).transpose(0, 1)
        anchors = self._anchors(output, step.global_views)
        images, views, _ = scores_BVP.shape
        with torch.no_grad():
            codes_GBP = self.solver(torch.stack([scores_BVP[:, place] for place in anchors]))
            # a view is asked to predict the sum of all codes but its own: one product instead of G·(V − 1)
            targets_BVP = codes_GBP.sum(0).unsqueeze(1).repeat(1, views, 1)
            for place, codes_BP in zip(anchors, codes_GBP, strict=True):
                targets_BVP[:, place] -= codes_BP
            step.logs["swav/effective_prototypes"] = _effective(codes_GBP)
        predictions_BVP = (scores_BVP / self.config.temperature).log_softmax(-1)
        terms = len(anchors) * (views - 1)
        total: Tensor = (predictions_BVP * targets_BVP).sum()  # no dot: over so many terms it is off by 1e-4
        return total / -(terms * images)

    def _anchors(self, output: Output, global_views: int) -> list[int]:
        """Places in the output that hold global views."""
        anchors = [place for place, view in enumerate(output.views) if view < global_views]
        if anchors and len(output.views) > 1:
            return anchors
        message = (
            f"swapped prediction needs a global view and at least one other, but '{self.config.scores}' "
            f"saw views {list(output.views)}, of which {len(anchors)} are global."
        )
        remedy = "Give it at least two crops, the first of them global."
        raise RecipeError("loss swav", [Problem("scores", message, remedy, self.config.scores)])


def _effective(codes_GBP: Tensor) -> Tensor:
    """exp of the entropy of the mean code over all images and global views."""
    total_P = batch_sum(codes_GBP.sum((0, 1)))
    entropy: Tensor = torch.special.entr(total_P / total_P.sum()).sum()
    return entropy.exp()


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [SwAV]
