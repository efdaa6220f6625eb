"""Prototypes scattered by contrast (ProPos, Huang et al. 2022, arXiv 2111.11821, eq. 8-9)."""

from __future__ import annotations

from typing import Annotated, Self

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from pydantic import Field, model_validator
from torch import Tensor

from imcswav.distributed import batch_sum
from imcswav.errors import Problem, RecipeError
from imcswav.heads import AnyHeadName, HeadName, ReadsHead
from imcswav.learners import Epoch, RecipeFacts
from imcswav.losses import Loss
from imcswav.losses._labels import Labels
from imcswav.losses._outputs import global_places, matching, pairs
from imcswav.plugins import hookimpl
from imcswav.step import Output, Progress, Step

KMEANS = "kmeans"
PLACES = "labels of k-means go by the places of a batch's images, which a bank doesn't keep."
OFF_THE_BANK = "Take it off the bank."


class PrototypeContrast(Loss, name="prototype_contrast"):
    """Pull a cluster's prototype towards the teacher's, and push the prototypes of different clusters apart.

    A prototype is the direction of the sum of a batch's unit embeddings in a cluster: μ_k(v) online in view v, μ'_k(g)
    the targets' in view g, without gradient. The loss is the mean over the clusters k in the batch and the ordered
    pairs of global views v ≠ g of

        −log exp(μ_k·μ'_k / τ) / (exp(μ_k·μ'_k / τ) + Σ_{j ≠ k} exp(μ_k·μ_j / τ)),

    j in the batch too. Labels come from k-means over all images between epochs, or from a head in the step itself.
    Before ``start``, and until k-means has run, it is a zero without gradient. At least float32. Checkpoints have the
    labels (9 bytes an image), exported models don't. Logs ``prototype_contrast/clusters``, those in the batch.
    """

    class Config(Loss.Config):
        temperature: float = Field(0.5, gt=0)
        """τ, divides the cosines."""
        embeddings: HeadName = "projection"
        """Output (V, B, D) whose class means are μ; the projection, as in the released program."""
        targets: HeadName = "teacher.projection"
        """Output (G, B, D) whose class means are μ'."""
        start: float = Field(0.1, ge=0, lt=1)
        """Share of the training before which it is off; k-means waits for the next epoch."""
        labels: Annotated[str, ReadsHead(unless=KMEANS)] = KMEANS
        """"kmeans", or a head: the arg max of its probabilities, averaged over global views, is an image's label."""
        source: AnyHeadName = None
        """Output that k-means clusters, of all un-augmented images; unset: the targets."""
        clusters: int | None = Field(None, ge=2)
        """Clusters of k-means; unset: the recipe's."""
        every: int = Field(1, ge=1)
        """Epochs from one k-means to the next."""
        drop: float = Field(0.0, ge=0, lt=1)
        """Share of the images that is left out: those whose features moved most since the last k-means, by cosine.
        Above 0, 2 · N · D bytes keep the last features of N images, D numbers each."""

        @model_validator(mode="after")
        def _kmeans_alone(self) -> Self:
            fields = type(self).model_fields
            idle = [name for name in ("source", "clusters", "every", "drop")
                    if getattr(self, name) != fields[name].default]  # fmt: skip
            if self.labels != KMEANS and idle:
                raise ValueError(f'{idle[0]} is for labels = "{KMEANS}": leave it out, or the labels of a head')
            return self

        def first_epoch(self, steps: int, steps_per_epoch: int) -> int:
            """The first epoch that begins at or after ``start``."""
            return -(-round(self.start * steps) // steps_per_epoch)

        def first_step(self, facts: RecipeFacts) -> int:
            """By ``start``; k-means waits for an epoch's beginning."""
            if facts.steps is None:
                return 0
            per_epoch = (facts.data.images or 0) // facts.batch_size if facts.data else 0
            if self.labels == KMEANS and per_epoch:
                return self.first_epoch(facts.steps, per_epoch) * per_epoch
            return round(self.start * facts.steps)

        def check_recipe(self, facts: RecipeFacts) -> list[Problem]:
            """More clusters than images, and a training that ends before k-means begins."""
            images = None if facts.data is None else facts.data.images
            if self.labels != KMEANS or images is None:
                return []
            problems, clusters = [], self.clusters or facts.clusters
            if clusters > images:
                message = f"{clusters} clusters are more than the {images} training images."
                problems.append(Problem("clusters", message, "Ask for fewer clusters.", clusters))
            if facts.steps and self.first_step(facts) >= facts.steps:
                message = "no epoch begins after that share of the training, so k-means never labels anything."
                problems.append(Problem("start", message, "Start earlier.", self.start, severity="warning"))
            return problems

        def check_banked(self) -> list[Problem]:
            """Labels of k-means need what a bank doesn't keep."""
            return [] if self.labels != KMEANS else [Problem("labels", PLACES, OFF_THE_BANK, self.labels)]

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.labels = Labels(config.drop) if config.labels == KMEANS else None
        self.on = self.rehearsed = False

    def rehearse(self, images: int, clusters: int) -> None:
        """Be on, images being in any cluster."""
        self.rehearsed = True
        if self.labels is not None:
            self.labels.deal(images, self.config.clusters or clusters)

    def start_epoch(self, epoch: Epoch) -> None:
        """Label all images anew, where the epoch is one that does."""
        config, progress = self.config, epoch.progress
        since = progress.epoch - config.first_epoch(progress.steps, progress.steps_per_epoch)
        if self.labels is None or since % config.every or (since < 0 and not self.labels.made):
            return  # once begun it goes on, though a longer training would begin later
        clusters = config.clusters or epoch.clusters
        assert epoch.outputs is not None
        assert clusters is not None
        self.labels.make(epoch.outputs(config.source or config.targets), clusters, epoch.seed)

    def prepare(self, progress: Progress) -> None:
        """Work out whether it is on; the device isn't asked."""
        begun = progress.step >= round(self.config.start * progress.steps)
        self.on = self.rehearsed or (begun if self.labels is None else self.labels.made)

    def phase(self, progress: Progress) -> bool:
        """Whether it is on."""
        return self.on

    def forward(self, step: Step) -> Tensor:
        """The scalar loss; raises RecipeError when the outputs can't be compared or no view has another one."""
        online, targets = matching(self, step, "embeddings", "targets")
        found = self._pairs(online, targets, step.global_views)  # also while it is off, so that errors come early
        dtype = torch.promote_types(torch.promote_types(online.tensor.dtype, targets.tensor.dtype), torch.float32)
        if not self.on:
            return online.tensor.new_zeros((), dtype=dtype)
        with torch.autocast(online.tensor.device.type, enabled=False):
            members_BK = self._members(step).to(dtype)
            counts_K = batch_sum(members_BK.sum(0))
            step.logs["prototype_contrast/clusters"] = (counts_K > 0).sum().to(dtype)
            ours_PBD = torch.stack([online.tensor[v] for v, _ in found]).to(dtype)
            theirs_PBD = torch.stack([targets.tensor[g].detach() for _, g in found]).to(dtype)
            return self._contrast(_prototypes(ours_PBD, members_BK), _prototypes(theirs_PBD, members_BK), counts_K > 0)

    def _contrast(self, online_PKD: Tensor, targets_PKD: Tensor, present_K: Tensor) -> Tensor:
        """Mean over pairs P of views and present clusters; 0 without any."""
        own_PK1 = (online_PKD * targets_PKD).sum(-1, keepdim=True) / self.config.temperature
        others_PKK = online_PKD @ online_PKD.mT / self.config.temperature
        itself_KK = torch.eye(len(present_K), dtype=torch.bool, device=present_K.device)
        others_PKK = others_PKK.masked_fill(itself_KK | ~present_K, torch.finfo(others_PKK.dtype).min)
        losses_PK = torch.cat([own_PK1, others_PKK], -1).logsumexp(-1) - own_PK1.squeeze(-1)
        return (losses_PK * present_K).sum() / (len(losses_PK) * present_K.sum().clamp_min(1))

    def _members(self, step: Step) -> Tensor:
        """Which image is of which cluster, (B, K) bool."""
        if self.labels is not None:
            if step.index is None:
                raise RecipeError("loss prototype_contrast", [Problem("labels", PLACES, OFF_THE_BANK)])
            return self.labels.members(step.index)
        output = step.output(self.config.labels)
        seen = [output.tensor[place] for place in global_places(output, step.global_views)]
        chances_BK = torch.stack(seen).detach().float().softmax(-1).sum(0)
        return chances_BK.argmax(1, keepdim=True) == torch.arange(chances_BK.shape[1], device=chances_BK.device)

    def _pairs(self, online: Output, targets: Output, global_views: int) -> list[tuple[int, int]]:
        """Places of two different global views, the first in the embeddings, the second in the targets."""
        config = self.config
        if found := pairs(online, targets, global_views):
            return found
        message = (
            f"a prototype needs another global view's, but '{config.embeddings}' saw views {list(online.views)}, "
            f"'{config.targets}' {list(targets.views)}, of which {global_views} are global."
        )
        problem = Problem("targets", message, "Give it at least two global crops.", config.targets)
        raise RecipeError("loss prototype_contrast", [problem])


def _prototypes(x_PBD: Tensor, members_BK: Tensor) -> Tensor:
    """Directions (P, K, D) of the sums of each cluster's unit rows; zeros where there are none."""
    return F.normalize(batch_sum(members_BK.mT @ F.normalize(x_PBD, dim=-1)), dim=-1)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [PrototypeContrast]
