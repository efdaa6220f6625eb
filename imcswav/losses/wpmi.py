"""Weighted pointwise mutual information between views (TEMI, arXiv 2303.17896)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from imcswav.distributed import batch_size, batch_sum
from imcswav.errors import Problem, RecipeError
from imcswav.heads import CopiedHeadName
from imcswav.learners import TrainingState
from imcswav.losses import Loss
from imcswav.losses._outputs import global_places, matching
from imcswav.plugins import hookimpl
from imcswav.step import Output, Step


class WPMI(Loss, name="wpmi"):
    """Clusters that two views of an image share more often than chance, sure pairs counting more.

    With s = softmax(y / τ) of the student's logits y, t = softmax(y' / τ') of the targets', which carry no
    gradient, and t̃_k the running mean of t_k over images and global views, views v and g of an image have

        pmi(v, g) = log Σ_k (s_k(v) t_k(g))^β / t̃_k,

    and the loss is the mean over images, global views g and views v ≠ g of −w · pmi(v, g), in nats. An image's
    weight w is Σ_k t_k(g) t_k(g'), the mean over its pairs of global views. With even clusters and
    β ≥ 0.5 the least it can be is −log K. At least float32, autocast or not.

    With E copies of both heads the e-th of each have that loss, and a t̃, by themselves: the value is the mean over
    copies, the gradient that of the sum. In the code K then stands for E, K.

    t̃ starts even and moves before it is used, in training only. Checkpoints have it, exported models don't.
    Logs ``wpmi/effective_clusters``, exp of the entropy of t̃: K when all clusters are used alike.
    """

    class Config(Loss.Config):
        logits: CopiedHeadName = "classifier"
        """Head whose output (V, B, K), or (V, B, E, K) of E copies, is the student's logits y."""
        targets: CopiedHeadName = "classifier"
        """Head whose output of that shape is the targets' logits y'; the student's own head will do."""
        beta: float = Field(0.6, gt=0, le=1)
        """β: 1 is plain mutual information; towards 0.5 sure predictions gain less and less, below it they lose."""
        temperature: float = Field(0.1, gt=0)
        """τ, divides y before its softmax; 0.1 is for logits of size 1, as of a head of cosines."""
        target_temperature: float = Field(0.1, gt=0)
        """τ', divides y' before its softmax."""
        momentum: float = Field(0.9, ge=0, lt=1)
        """Share of t̃ that stays at each step."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.prior = Prior(config.momentum)

    def forward(self, step: Step) -> Tensor:
        """The scalar loss; raises RecipeError for targets of fewer than two global views, and of another width."""
        student, teacher = matching(self, step, "logits", "targets")
        places = self._places(teacher, step.global_views)
        dtype = torch.promote_types(torch.promote_types(student.tensor.dtype, teacher.tensor.dtype), torch.float32)
        with torch.autocast(student.tensor.device.type, enabled=False):
            chosen_GBK = torch.stack([teacher.tensor.detach()[place] for place in places]).to(dtype)
            logs_GBK = (chosen_GBK / self.config.target_temperature).log_softmax(-1)
            shares_GBK = logs_GBK.exp()
            prior_K = self.prior(shares_GBK)
            step.logs["wpmi/effective_clusters"] = torch.special.entr(prior_K).sum(-1).mean().exp()
            # all that the targets put into the exponent: β log t − log t̃
            exponents_GBK = logs_GBK * self.config.beta - _log(prior_K)
            targets = Output(exponents_GBK, tuple(teacher.views[place] for place in places))
            scaled_VBK = (student.tensor.to(dtype) / self.config.temperature).log_softmax(-1) * self.config.beta
            losses = -_mean(_agreement(shares_GBK), Output(scaled_VBK, student.views), targets)
            return step.over_copies(self.config.logits, losses) if losses.ndim else losses

    def _places(self, teacher: Output, global_views: int) -> list[int]:
        """Places in the targets' output that hold global views."""
        places = global_places(teacher, global_views)
        if len(places) > 1:
            return places
        message = (
            f"the agreement of an image's global views needs two of them, but '{self.config.targets}' saw views "
            f"{list(teacher.views)}, of which {len(places)} are global."
        )
        remedy = "Give it at least two global crops."
        raise RecipeError("loss wpmi", [Problem("targets", message, remedy, self.config.targets)])


class Prior(TrainingState):
    """The running mean t̃ (K,), or (E, K) of copies, of the targets' probabilities.

    It holds nothing until it has seen some or was loaded.
    """

    shares: Tensor
    sized_by_state = ("shares",)

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("shares", torch.empty(0))

    @torch.no_grad()
    def forward(self, shares_GBK: Tensor) -> Tensor:
        """t̃, in training after it has moved towards the mean of these over all ranks."""
        views, images, *own = shares_GBK.shape
        if not len(self.shares):
            self.shares = shares_GBK.new_full(own, 1 / own[-1])
        if self.training:
            mean_K = batch_sum(shares_GBK.sum((0, 1))) / (views * batch_size(images))
            self.shares.lerp_(mean_K.to(self.shares.dtype), 1 - self.momentum)
        return self.shares.to(shares_GBK.dtype)


def _agreement(shares_GBK: Tensor) -> Tensor:
    """w (B,) or (B, E): the mean of Σ_k t_k(g) t_k(g') over pairs of views."""
    views = len(shares_GBK)
    both_B = shares_GBK.sum(0).square().sum(-1) - shares_GBK.square().sum((0, -1))
    return both_B / (views * (views - 1))


def _mean(weights_B: Tensor, student: Output, targets: Output) -> Tensor:
    """The weighted pmi, mean over images and pairs of different views, from the two parts of its exponent."""
    total_B, pairs = torch.zeros_like(weights_B), 0
    for exponents_BK, view in zip(targets.tensor, targets.views, strict=True):
        # slices, not an index: a list of places would be copied to the device in every step
        cut = student.views.index(view) if view in student.views else len(student.views)
        others_VBK = torch.cat([student.tensor[:cut], student.tensor[cut + 1 :]])
        total_B = total_B + (others_VBK + exponents_BK).logsumexp(-1).sum(0)
        pairs += len(others_VBK)
    return (weights_B * total_B).sum(0) / (pairs * len(weights_B))


def _log(x: Tensor) -> Tensor:
    """Logarithm that stays finite at 0."""
    return x.clamp_min(torch.finfo(x.dtype).tiny).log()


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [WPMI]
