"""Information-maximising clustering over all pairs of views (IMC-SwAV eq. 6, arXiv 2103.07368)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from imcswav.distributed import batch_size, batch_sum
from imcswav.heads import CopiedHeadName, HeadName
from imcswav.losses import Loss
from imcswav.plugins import hookimpl
from imcswav.step import Step


class IMC(Loss, name="imc"):
    """Mutual information between clusters and prototypes, and a penalty on large logits.

    For each ordered pair (a, b) of views, the joint of cluster and prototype is

        J = softmax(y_a)ᵀ softmax(u_b / τ) over its sum, with marginals J_y and J_u,

    and the loss is the mean over pairs of −Σ J log(J / J_u) + β Σ J_y log J_y = H(Y|U) − β H(Y), in nats,
    plus ``penalty`` times the mean over images and views of Σ_k max(|y_k| − threshold, 0).

    With E copies of the classifier each has that loss by itself: the value is their mean, the gradient that of the sum.

    The scores carry no gradient. At least float32, autocast or not. First-order gradients only: ``_pairs``.
    Logs ``imc/effective_clusters``, exp of the views' mean H(Y): K when all clusters are used alike; and
    ``imc/information``, the pairs' mean H(Y) − H(Y|U) in nats: 0 when clusters say nothing of prototypes, at most
    log K.
    """

    class Config(Loss.Config):
        temperature: float = Field(0.1, gt=0)
        """τ, divides the scores before their softmax; logits are taken as they are."""
        entropy_weight: float = Field(4.0, ge=0)
        """β, weight of the marginal entropy H(Y): larger pushes harder towards even clusters."""
        penalty: float = Field(0.01, ge=0)
        """Factor of what the logits exceed ``threshold`` by."""
        threshold: float = Field(5.0, ge=0)
        """Size of a logit up to which it costs nothing."""
        logits: CopiedHeadName = "classifier"
        """Head whose output (V, B, K), or (V, B, E, K) of E copies, is the clusters' logits y."""
        scores: HeadName = "prototypes"
        """Head whose output (V, B, P) is the prototypes' scores u."""

    config: Config

    def compilable(self) -> bool:
        """Always."""
        return True

    def forward(self, step: Step) -> Tensor:
        """The scalar loss over the views that each of the two heads saw."""
        logits, scores_VBP = step[self.config.logits], step[self.config.scores].detach()
        dtype = torch.promote_types(torch.promote_types(logits.dtype, scores_VBP.dtype), torch.float32)
        copied = logits.ndim == 4
        logits_VBEK, scores_VBP = (logits if copied else logits.unsqueeze(2)).to(dtype), scores_VBP.to(dtype)
        with torch.autocast(logits.device.type, enabled=False):  # in bf16 the gradient would be 8 % off
            pairs_E = self._pairs(logits_VBEK, scores_VBP, step.logs)
            entropy = step.logs["imc/effective_clusters"].log()
            step.logs["imc/information"] = (1 - self.config.entropy_weight) * entropy - pairs_E.detach().mean()
            losses_E: Tensor = pairs_E + self._excess(logits_VBEK)
            return step.over_copies(self.config.logits, losses_E) if copied else losses_E.squeeze(0)

    def _pairs(self, logits_VBEK: Tensor, scores_VBP: Tensor, logs: dict[str, Tensor]) -> Tensor:
        """H(Y|U) − β H(Y) of each copy (E,), mean over all pairs of views.

        It is f = Σ J·W with W = β log J_y − log J + log J_u. As J sums to 1 and J_u doesn't depend on the
        logits, the derivatives of the logarithms add up to nothing: df = Σ dJ·W. So W is held constant,
        which is exact, spares its backward pass, and never divides by a J that underflowed to 0.
        """
        (views, images, copies, clusters), seen = logits_VBEK.shape, len(scores_VBP)
        # rows (a, e, k); the sum of J over clusters and prototypes is the number of images
        rows_1AB = logits_VBEK.softmax(-1).permute(0, 2, 3, 1).reshape(1, views * copies * clusters, images)
        columns_VBP = (scores_VBP / self.config.temperature).softmax(-1)
        joint_VAP = batch_sum(torch.bmm(rows_1AB.expand(seen, -1, -1), columns_VBP)) / batch_size(images)
        with torch.no_grad():
            clusters_A1 = joint_VAP.sum((0, 2)).unsqueeze(1) / seen
            prototypes_V1P = joint_VAP.sum(1, keepdim=True) / (views * copies)  # each (a, e) has the same
            scaled_A1 = _log(clusters_A1) * self.config.entropy_weight
            weights_VAP = (_log(prototypes_V1P) + scaled_A1).sub_(_log(joint_VAP))
            logs["imc/effective_clusters"] = (torch.special.entr(clusters_A1).sum() / (views * copies)).exp()
        terms_VVEKP: Tensor = (joint_VAP * weights_VAP).unflatten(1, (views, copies, clusters))
        return terms_VVEKP.sum((0, 1, 3, 4)) / (views * seen)

    def _excess(self, logits_VBEK: Tensor) -> Tensor:
        """The penalty on large logits of each copy (E,)."""
        views, images, _, _ = logits_VBEK.shape
        excess_E = (logits_VBEK.abs() - self.config.threshold).relu().sum((0, 1, 3))
        total_E: Tensor = batch_sum(excess_E)
        return total_E * (self.config.penalty / (views * batch_size(images)))


def _log(x: Tensor) -> Tensor:
    """Logarithm that stays finite at 0."""
    return x.clamp_min(torch.finfo(x.dtype).tiny).log_()


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [IMC]
