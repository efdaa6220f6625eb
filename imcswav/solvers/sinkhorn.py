"""Sinkhorn–Knopp: balanced soft codes (Cuturi 2013, arXiv 1306.0895; as in SwAV, arXiv 2006.09882)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from imcswav.distributed import batch_max, batch_size, batch_sum
from imcswav.errors import Problem, RecipeError
from imcswav.plugins import hookimpl
from imcswav.solvers import Solver

LOGARITHMS_BELOW = 0.025
"""ε from which on exp(−2 / ε), the least entry of a kernel of cosines, and its inverse are well within float32."""


class Sinkhorn(Solver, name="sinkhorn"):
    """Scale the rows and columns of exp(scores / ε) in turn.

    Each iteration gives every prototype its mass (1 / P, or the prior) first and every image 1 / B after
    it, so that images are exact and prototypes nearly so; the codes are the result times B. Infinite scores
    count as the largest finite score of their view. For ε below 0.025 the logarithms are iterated, which takes longer;
    from there on scores have to be cosines, or to differ by at most 80 ε, lest a prototype's entries round to 0.
    """

    class Config(Solver.Config):
        epsilon: float = Field(0.05, gt=0)
        """ε, the entropic regularisation: smaller gives harder codes."""
        iterations: int = Field(3, ge=1, le=1000)
        """How often prototypes and images are scaled."""
        prior: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] | None = None
        """Share of images for each prototype, one value each, scaled to sum 1; unset: the same for all."""

    config: Config
    prior: Tensor | None

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        prior_P = None if config.prior is None else torch.tensor(config.prior)
        self.register_buffer("prior", prior_P, persistent=False)  # a buffer moves with the model, once

    def compilable(self) -> bool:
        """Always."""
        return True

    def forward(self, scores_GBP: Tensor) -> Tensor:
        """Codes (G, B, P), rows sum to 1; raises RecipeError when the prior's length is not P."""
        dtype = torch.promote_types(scores_GBP.dtype, torch.float32)
        with torch.autocast(scores_GBP.device.type, enabled=False):
            logits_GBP = scores_GBP.to(dtype) / self.config.epsilon
            mass_P = self._mass(logits_GBP)
            infinite_GBP = logits_GBP == torch.inf
            finite_G = logits_GBP.masked_fill(infinite_GBP, -torch.inf).amax((1, 2), keepdim=True)
            top_G11 = batch_max(finite_G)
            logits_GBP = logits_GBP.minimum(top_G11)
            solve = self._solve if self.config.epsilon >= LOGARITHMS_BELOW else self._solve_logarithms
            return solve(logits_GBP, top_G11, mass_P)

    def _solve(self, logits_GBP: Tensor, top_G11: Tensor, mass_P: Tensor | float) -> Tensor:
        """Scaling vectors a (images) and b (prototypes) such that a · kernel · b has the wanted masses.

        The kernel's rows have 1 as their largest entry, the true size being the start of a: equal to
        exp(scores / ε), and no row can underflow.
        """
        peaks_GB1 = logits_GBP.amax(2, keepdim=True)
        kernel_GBP = logits_GBP.sub_(peaks_GB1).exp_()
        # both vectors lie as rows: a row times the kernel is a fast product, a column before it is not
        images_G1B = (peaks_GB1 - top_G11).exp_().mT
        count, tiny = batch_size(kernel_GBP.shape[1]), torch.finfo(kernel_GBP.dtype).tiny
        for _ in range(self.config.iterations):
            loads_G1P = batch_sum(images_G1B @ kernel_GBP).clamp_min(tiny)  # a prototype no image is near
            prototypes_G1P = mass_P / loads_G1P
            images_G1B = 1 / (count * (prototypes_G1P @ kernel_GBP.mT))
        return kernel_GBP.mul_(prototypes_G1P).mul_((images_G1B * count).mT)

    def _solve_logarithms(self, logits_GBP: Tensor, top_G11: Tensor, mass_P: Tensor | float) -> Tensor:
        """The same by log a and log b: no ratio of two entries is too large."""
        info = torch.finfo(logits_GBP.dtype)
        mass = mass_P.log() if isinstance(mass_P, Tensor) else 0.0  # a factor of all prototypes drops out
        images_GB1 = -top_G11
        for _ in range(self.config.iterations):
            scaled_GBP = logits_GBP + images_GB1
            peaks_G1P = batch_max(scaled_GBP.amax(1, keepdim=True)).clamp_min(info.min)  # where all scores are −∞
            loads_G1P = batch_sum(scaled_GBP.sub_(peaks_G1P).exp_().sum(1, keepdim=True)).clamp_min(info.tiny)
            prototypes_G1P = mass - peaks_G1P - loads_G1P.log_()
            images_GB1 = -torch.logsumexp(logits_GBP + prototypes_G1P, 2, keepdim=True)
        return torch.softmax(logits_GBP + prototypes_G1P, 2)

    def _mass(self, logits_GBP: Tensor) -> Tensor | float:
        """Mass of each prototype: (P,), or one number for all."""
        count = logits_GBP.shape[2]
        if self.prior is None:
            return 1 / count
        if len(self.prior) != count:
            message = f"the prior has {len(self.prior)} values, but there are {count} prototypes."
            raise RecipeError("solver sinkhorn", [Problem("prior", message, "Give one value for each.")])
        prior_P = self.prior.to(logits_GBP)
        return prior_P / prior_P.sum()


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Sinkhorn]
