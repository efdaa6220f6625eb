"""DEPICT: an autoencoder and a softmax on its code, trained on targets that the softmax itself makes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from imcswav.clusterers import Clusterer
from imcswav.data import Batch, DataFacts, Images
from imcswav.distributed import batch_sum, from_main_tensor
from imcswav.errors import Problem
from imcswav.learners import Embedding, Epoch, Learner, RecipeFacts
from imcswav.part import Part
from imcswav.solvers import Solver
from imcswav.step import Progress
from imcswav_depict.autoencoder import Autoencoder, dropout, layer_errors
from imcswav_depict.checks import problems
from imcswav_depict.stages import Stages, nearest_mean

CHUNK = 500
"""Images encoded at a time between epochs."""
KMEANS = {"name": "kmeans", "n_init": 20, "normalize": False}


class Depict(Learner, name="depict"):
    """Convolutional autoencoder and relative entropy minimised jointly (Dizaji et al. 2017, arXiv 1704.06327).

    Two paths share the weights: a noisy one with dropout, which is decoded and clustered, and a clean one, whose layers
    are what the decoder has to give back and whose predictions make the targets. The loss is
    Σ_l w_l |z_l − ẑ_l|² / |z_l| − Σ_k q_k log p_k, means over images, with w = 1 for the image and ``hidden_weight``
    for hidden layers; as in the authors' program the gradient goes into the clean layers too.

    Stages: ``pretrain_epochs`` of reconstruction alone; then ``initial`` clusters the codes of all images, the softmax
    is set to tell these clusters apart, and they are its targets for ``warm_epochs``; then ``solver`` makes new targets
    from the clean predictions of all images, every ``target_epochs``. No views, no label.
    """

    class Config(Learner.Config):
        channels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (50, 50)
        """Of the encoder's convolutions; each halves the side of the image. The decoder mirrors them."""
        kernel: int = Field(4, ge=2)
        """Side of every convolution in pixels."""
        features: int | None = Field(None, ge=1)
        """Width of the code; unset: the number of clusters, as in the paper."""
        dropout: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = (0.1, 0.1, 0.0)
        """Rates of the noisy path, for the image and for the output of each convolution."""
        hidden_weight: float = Field(0.1, ge=0)
        """Weight of the hidden layers' reconstruction; the image's is 1."""
        cluster_weight: float = Field(1.0, ge=0)
        """Weight of the cross-entropy to the targets."""
        pretrain_epochs: int = Field(100, ge=0)
        """Epochs of reconstruction alone, at most."""
        patience: int | None = Field(None, ge=1)
        """End them after so many epochs without a lower error on a tenth of the images that is held out meanwhile;
        unset: train on all images for all of ``pretrain_epochs``."""
        initial: Annotated[Clusterer.Config, Part("clusterer")] = KMEANS  # type: ignore[assignment]
        """Clusters the codes after the pre-training."""
        warm_epochs: int = Field(5, ge=0)
        """Epochs with these clusters as targets."""
        target_epochs: int = Field(1, ge=1)
        """Epochs between two makings of targets."""
        solver: Annotated[Solver.Config, Part("solver")] = {"name": "sharpen"}  # type: ignore[assignment]
        """Makes targets from the logits of all images."""

        @model_validator(mode="after")
        def _a_rate_a_layer(self) -> Self:
            if len(self.dropout) != len(self.channels) + 1:
                raise ValueError(f"give dropout a rate for the image and for each of {len(self.channels)} convolutions")
            return self

        def check_recipe(self, facts: RecipeFacts) -> list[Problem]:
            """Images too small or too few, and a training that ends before it clusters."""
            return problems(self, facts)

    config: Config

    def __init__(self, config: Any, *, facts: DataFacts, clusters: int) -> None:
        super().__init__(config, facts=facts, clusters=clusters)
        features = config.features or clusters
        self.autoencoder = Autoencoder(facts.channels, facts.size, config.channels, config.kernel, features)
        self.head = nn.Linear(features, clusters)
        self.solver: Solver = config.solver.build()
        self.stages = Stages()

    def forward(self, batch: Batch, progress: Progress, seed: int | Tensor) -> dict[str, Tensor]:
        """The loss, and its two parts before weighting."""
        config, x_BCHW = self.config, self._scaled(batch.images)
        clean, _ = self.autoencoder.encode(x_BCHW)
        _, code_BF = self.autoencoder.encode(x_BCHW, dropout(config.dropout, seed, batch.index))
        error_B = self._error(clean, self.autoencoder.drawn(code_BF))
        if not self.stages.clusters:
            loss = error_B.mean() if not self.stages.holds else _mean(error_B, ~self.stages.held[batch.index])
            return {"loss": loss, "loss/reconstruction": loss.detach()}
        targets_BK = self.stages.targets.index_select(0, batch.index)
        entropy = -(targets_BK * self.head(code_BF).float().log_softmax(-1)).sum(-1).mean()
        error = error_B.mean()
        parts = {"loss/reconstruction": error.detach(), "loss/clustering": entropy.detach()}
        return {"loss": error + config.cluster_weight * entropy, **parts}

    def _error(self, clean: list[Tensor], drawn: list[Tensor]) -> Tensor:
        """Weighted sum over layers, an image each (B,)."""
        image_B, *hidden = layer_errors(clean, drawn)
        return image_B + self.config.hidden_weight * torch.stack(hidden).sum(0)

    def phase(self, progress: Progress) -> Hashable:
        """The stage."""
        return self.stages.clusters

    @torch.no_grad()
    def start_epoch(self, epoch: Epoch) -> None:
        """Move on to the next stage where it is time, and make targets where they are due."""
        config, stages, now = self.config, self.stages, epoch.progress.epoch
        if not stages.clusters and self._pretrained(epoch):
            self._initialise(epoch)
        if not stages.clusters:
            return
        since = now - int(stages.began) - config.warm_epochs
        if since >= 0 and since % config.target_epochs == 0:
            logits_NK = self.head(self._codes(epoch.images)).float()
            stages.targets.copy_(self.solver(logits_NK.unsqueeze(0))[0])

    def _pretrained(self, epoch: Epoch) -> bool:
        config, stages, now = self.config, self.stages, epoch.progress.epoch
        if now >= config.pretrain_epochs:
            return True
        if config.patience is None:
            return False
        if not stages.holds:
            stages.hold_out(len(epoch.images), epoch.seed)
            return False
        held = stages.held.nonzero().flatten().split(CHUNK)
        errors = []
        for rows in held:
            clean, code_BF = self.autoencoder.encode(self._scaled(epoch.images[rows]))
            errors.append(self._error(clean, self.autoencoder.drawn(code_BF)))
        return stages.wait(from_main_tensor(torch.cat(errors).mean())) >= config.patience

    def _initialise(self, epoch: Epoch) -> None:
        """Cluster all codes; the softmax then begins with these clusters."""
        codes_NF = self._codes(epoch.images)
        clusterer: Clusterer = self.config.initial.build(clusters=self.clusters, seed=epoch.seed)
        labels_N = from_main_tensor(torch.from_numpy(clusterer.fit(codes_NF.cpu().numpy())).to(codes_NF.device))
        self.stages.begin(epoch.progress.epoch, labels_N, self.clusters)
        weight_KF, bias_K = nearest_mean(codes_NF, self.stages.targets)
        self.head.weight.copy_(weight_KF)
        self.head.bias.copy_(bias_K)

    def _codes(self, images_NCHW: Images) -> Tensor:
        """Of all images; where several processes compute them, the main one's, for the last bits may differ."""
        return from_main_tensor(
            torch.cat([self.autoencoder(self._scaled(x)).float() for x in images_NCHW.split(CHUNK)])
        )

    def _scaled(self, images_NCHW: Tensor) -> Tensor:
        return images_NCHW.to(self.head.weight.dtype) / 127.5 - 1

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """From [0, 1] to [−1, 1], the range of the decoder's tanh."""
        return (0.5,) * self.facts.channels, (0.5,) * self.facts.channels

    def encoder(self) -> nn.Module:
        """The clean path."""
        return self.autoencoder

    def embed(self, images_NCHW: Tensor, views: int = 1) -> Embedding:
        """Codes and probabilities of the clean path; ``views`` changes nothing."""
        code_NF = self.autoencoder(self._scaled(images_NCHW)).float()
        return Embedding(code_NF, self.head(code_NF).float().softmax(-1))


def _mean(error_B: Tensor, counts_B: Tensor) -> Tensor:
    """Mean over the rows that count, of all processes."""
    return batch_sum((error_B * counts_B).sum()) / batch_sum(counts_B.sum()).clamp_min(1)
