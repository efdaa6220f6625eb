"""Learning from one's own labels: a teacher's clusters of a weak view are the targets for strong views of the image.

From SCAN (Van Gansbeke et al. 2020, arXiv 2005.12320, section 2.3) is the labelling of weak views for strong ones, from
SPICE (Niu et al. 2022, arXiv 2103.09382, prototype pseudo-labelling) that each cluster has the same number of
candidates, its most probable images, in place of a threshold for all.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from imcswav.distributed import batch_size, batch_sum, rank, shard, whole_batch, world_size
from imcswav.errors import Problem, RecipeError
from imcswav.heads import HeadName
from imcswav.learners import RecipeFacts
from imcswav.losses import Loss
from imcswav.losses._outputs import global_places, matching, single
from imcswav.plugins import hookimpl
from imcswav.step import Step


class SelfLabel(Loss, name="self_label"):
    """Cross-entropy of the strong views with the labels of a batch's surest images, and evenness of the clusters.

    With L the label of each chosen image, by ``choose`` from the teacher's probabilities of the weak view, it is the
    mean over strong views and chosen images of −log p_L, all of equal weight as in SPICE (SCAN weighs by cluster), plus
    ``entropy_weight`` · (log K − H(p̄)), p̄ the mean of the strong views' probabilities p; in nats. Weak views are the
    global ones, of which the teacher's probabilities are averaged, strong views the others. Only p has a gradient. At
    least float32, whatever the precision of the heads.

    Logs, all of the batch: ``self_label/chosen``, the share of images that got a label;
    ``self_label/chosen_clusters``, exp of the entropy of their labels; ``self_label/effective_clusters``, exp of H(p̄).
    """

    class Config(Loss.Config):
        ratio: float = Field(0.5, gt=0, le=1)
        """Share of a batch that are candidates, in equal parts of at least one image for each cluster."""
        entropy_weight: float = Field(1.0, ge=0)
        """Factor of what the mean probabilities' entropy lacks of log K."""
        logits: HeadName = "classifier"
        """Head whose output (V, B, K) learns."""
        targets: HeadName = "teacher.classifier"
        """Output (G, B, K) whose softmax gives the labels."""

        def quota(self, images: int, clusters: int) -> int:
            """M, the candidates of each cluster: ``ratio`` · B / K, rounded, halves up."""
            return math.floor(self.ratio * images / clusters + 0.5)

        def check_recipe(self, facts: RecipeFacts) -> list[Problem]:
            """A batch has to give every cluster a candidate."""
            images, clusters = facts.batch_size, facts.clusters
            if self.quota(images, clusters):
                return []
            message = f"of a batch of {images}, {clusters} clusters get no candidate each at a ratio of {self.ratio:g}."
            remedy = f"Raise it, or take batches of at least {math.ceil(clusters / (2 * self.ratio))} images."
            return [Problem("ratio", message, remedy, self.ratio)]

    config: Config

    def forward(self, step: Step) -> Tensor:
        """The scalar loss; raises RecipeError without a weak or a strong view, and for outputs of other widths."""
        weak_GBK, strong_SBK = self._views(step)
        images, clusters = strong_SBK.shape[1:]
        # a recipe's batch gives one, a trial step's may not
        quota = max(1, self.config.quota(batch_size(images), clusters))
        with torch.no_grad():
            chances_BK = whole_batch(weak_GBK.softmax(-1).mean(0))
            label_B, chosen_B = (shard(x_B, rank(), world_size()) for x_B in choose(chances_BK, quota))
            counts_K = batch_sum(torch.zeros_like(strong_SBK[0, 0]).index_add_(0, label_B, chosen_B))
        log_SBK = strong_SBK.log_softmax(-1)
        picked_SB = log_SBK.gather(-1, label_B.expand(len(log_SBK), -1).unsqueeze(-1)).squeeze(-1)
        cross_entropy = -batch_sum((picked_SB * chosen_B).sum()) / (len(log_SBK) * counts_K.sum())
        mean_K = batch_sum(log_SBK.exp().sum((0, 1))) / (len(log_SBK) * batch_size(images))
        entropy = -(mean_K * mean_K.clamp_min(torch.finfo(mean_K.dtype).tiny).log()).sum()
        share_K = counts_K / counts_K.sum()
        step.logs["self_label/chosen"] = counts_K.sum() / batch_size(images)
        step.logs["self_label/chosen_clusters"] = torch.special.entr(share_K).sum().exp()
        step.logs["self_label/effective_clusters"] = entropy.detach().exp()
        return cross_entropy + self.config.entropy_weight * (math.log(clusters) - entropy)

    def _views(self, step: Step) -> tuple[Tensor, Tensor]:
        """The targets of the weak views (G, B, K), without gradient, and the logits of the strong ones (S, B, K)."""
        logits, targets = matching(self, step, "logits", "targets")
        weak = [targets.tensor[place] for place in global_places(targets, step.global_views)]
        strong = [logits.tensor[place] for place, view in enumerate(logits.views) if view >= step.global_views]
        if weak and strong:
            return single(torch.stack(weak)).detach(), single(torch.stack(strong))
        message = (
            f"it learns from global views for the others, but '{self.config.targets}' saw views {list(targets.views)} "
            f"and '{self.config.logits}' {list(logits.views)}, of which {step.global_views} are global."
        )
        remedy = "Take the views 'strong', or two sizes of crops."
        raise RecipeError("loss self_label", [Problem("targets", message, remedy, self.config.targets)])


def choose(chances_BK: Tensor, quota: int) -> tuple[Tensor, Tensor]:
    """Labels (B,), int64, and which of them count (B,), 1 or 0, by quotas of the clusters and without a threshold.

    Candidates of a cluster are the ``quota`` (M) images that are most probable in it, of equal ones the first; it
    chooses the first ⌈M · mean probability of its candidates⌉ of them, at least one. An image that several clusters
    choose counts for the most probable of those whose first choice it is, if there are any, else of all. So a cluster
    gets an image unless its first choice is that of a more probable cluster too, however sure the other clusters are.
    Shapes are fixed and the host doesn't wait.
    """
    candidates_MK, image_MK = (x[:quota] for x in chances_BK.sort(dim=0, descending=True, stable=True))
    number_K = (quota * candidates_MK.mean(0)).ceil().clamp_min(1)
    rank_M1 = torch.arange(quota, device=chances_BK.device).unsqueeze(1)
    # −1: not chosen; 1 more than the probability: the first choice
    claim_MK = torch.where(rank_M1 < number_K, candidates_MK + (rank_M1 == 0), -1.0)
    claim_BK = torch.full_like(chances_BK, -1.0).scatter(0, image_MK, claim_MK)
    claim_B, label_B = claim_BK.max(-1)
    return label_B, (claim_B >= 0).to(chances_BK.dtype)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [SelfLabel]
