"""Training of many heads on ready features: each from a k-means of its own, then by what neighbours agree on."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from pydantic import Field
from torch import Tensor

from imcswav.clusterers import Clusterer
from imcswav.clusterers._heads import Heads
from imcswav.clusterers._neighbors import nearest, smoothed
from imcswav.clusterers._spherical import spherical_kmeans
from imcswav.errors import DataError
from imcswav.losses.wpmi import WPMI
from imcswav.progress import stage
from imcswav.seeding import mix
from imcswav.step import Output, Step

TAIL = 0.2
"""Last share of the steps whose mean loss ranks the heads."""
WARM_UP = 0.1
"""First share of the steps in which the learning rate rises."""
PARTS = 4
"""A neighbourhood is at most this part of a cluster of mean size, so that most of it lies in one cluster."""
STARTS = 3
"""Starts of the k-means that a head begins from: one alone merges clusters too often where there are many."""
ITERATIONS = 50
"""Most iterations of such a start."""
TOLERANCE = 1e-3
"""Share of images that may still change cluster when such a start ends."""


class Settings(Clusterer.Config):
    """How the heads are trained."""

    heads: int = Field(16, ge=1)
    """Heads trained at once; the one with the least loss is kept."""
    hidden: int = Field(128, ge=1)
    """Units of a head's hidden layer."""
    width: int = Field(64, ge=1)
    """Width in which a head compares images with its prototypes."""
    neighbors: int = Field(50, ge=1)
    """Most nearest neighbours an image is paired with; a quarter of a cluster of mean size where that is fewer."""
    smoothing: int = Field(8, ge=0)
    """Most rounds in which features are averaged over ``smoothing_neighbors`` for the k-means that a head starts from:
    0 for the first head, one more for each next, and from 0 again. They are trained on the features as they are."""
    smoothing_neighbors: int = Field(10, ge=1)
    """Nearest neighbours that smoothing averages over, ``neighbors`` at most."""
    steps: int = Field(600, ge=1)
    """Steps of training, however many images there are."""
    batch_size: int = Field(256, ge=1)
    """Pairs of images a step; all images where they are fewer."""
    start: float = Field(0.2, ge=0, lt=1)
    """Share of the steps in which a head learns its k-means; 0 starts from random heads."""
    learning_rate: float = Field(3e-3, gt=0)
    """Of AdamW at its highest; it rises over the first tenth of the steps and falls as a cosine to 0."""
    weight_decay: float = Field(1e-4, ge=0)
    """Of AdamW."""
    momentum: float = Field(0.99, ge=0, lt=1)
    """Share of the teacher's weights that stays at each step."""
    beta: float = Field(0.6, gt=0, le=1)
    """β of the loss `wpmi`."""
    temperature: float = Field(0.1, gt=0)
    """Divides the cosines of student and teacher."""


class Training:
    """E heads over prepared features (N, F) on one device. ``for done in training: …`` trains, step by step.

    Afterwards ``heads`` are the teacher's and ``losses_E`` the means by which they are ranked. Randomness is of
    ``seed`` alone and drawn on the CPU.
    """

    def __init__(self, x_NF: Tensor, clusters: int, seed: int, config: Settings) -> None:
        self.config, self.clusters, self.seed, self.x_NF = config, clusters, seed, x_NF
        generator = torch.Generator().manual_seed(mix(seed, 0))
        sizes = (x_NF.shape[1], config.hidden, config.width, clusters)
        self.student = Heads(config.heads, sizes, generator).to(x_NF.device)
        self.heads = copy.deepcopy(self.student).requires_grad_(False)
        self.losses_E = torch.zeros(config.heads, device=x_NF.device)
        self.neighbors_NJ = self._neighbors()
        self.pairs_SBP = self._pairs(generator)

    def best(self) -> int:
        """The head with the least loss; raises DataError where none has a finite one."""
        finite_E = self.losses_E.isfinite()
        if not finite_E.any():
            raise DataError(f"No head has a finite loss; lower learning_rate ({self.config.learning_rate:g}).")
        return int(self.losses_E.where(finite_E, math.inf).argmin())

    def __iter__(self) -> Iterator[int]:
        """Yields the number of steps done."""
        config, steps = self.config, self.config.steps
        optimizer = torch.optim.AdamW(self.student.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        loss = WPMI.create(
            targets="teacher.classifier", beta=config.beta,
            temperature=config.temperature, target_temperature=config.temperature,
        )  # fmt: skip
        first, tail = int(config.start * steps), min(math.ceil(TAIL * steps), steps - int(config.start * steps))
        labels_NE = self._labels() if first else torch.empty(0)
        for step, pairs_BP in enumerate(self.pairs_SBP):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _rate(step, steps)
            images_M = pairs_BP.T.flatten()
            cosines_MEK = self.student(self.x_NF[images_M])
            if step < first:
                logits_MKE = cosines_MEK.mT / config.temperature
                value = F.cross_entropy(logits_MKE, labels_NE[images_M]) * config.heads  # each head as if alone
            else:
                value, own_E = self._agreement(loss, cosines_MEK, images_M)
                if step >= steps - tail:
                    self.losses_E += own_E / tail
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            self._follow(config.momentum if step >= first else 0.0)
            yield step + 1

    def _agreement(self, loss: WPMI, cosines_MEK: Tensor, images_M: Tensor) -> tuple[Tensor, Tensor]:
        """The loss over pairs, whose sides are the loss's two views, and that of each head."""
        with torch.no_grad():
            targets_MEK = self.heads(self.x_NF[images_M])
        step = Step(global_views=2)
        for name, x_MEK in ("online.classifier", cosines_MEK), ("teacher.classifier", targets_MEK):
            step.outputs[name] = Output(x_MEK.unflatten(0, (2, -1)), (0, 1))
        return loss(step), step.reports["classifier"]

    @torch.no_grad()
    def _follow(self, momentum: float) -> None:
        ours: list[Tensor] = list(self.heads.parameters())
        theirs: list[Tensor] = list(self.student.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - momentum)

    def _neighbors(self) -> Tensor:
        """Neighbours (N, J) of each image; of a single image itself."""
        images = len(self.x_NF)
        if images == 1:
            return torch.zeros(1, 1, dtype=torch.int64, device=self.x_NF.device)
        part = max(1, images // (PARTS * self.clusters))
        return nearest(self.x_NF, min(self.config.neighbors, part, images - 1))

    def _pairs(self, generator: torch.Generator) -> Tensor:
        """Images and their neighbours for all steps (S, B, 2): each image once before any comes again."""
        images, steps = len(self.x_NF), self.config.steps
        size = min(self.config.batch_size, images)
        rounds = math.ceil(steps * size / images)
        order = torch.cat([torch.randperm(images, generator=generator) for _ in range(rounds)])[: steps * size]
        places = torch.randint(self.neighbors_NJ.shape[1], (steps * size,), generator=generator)
        order, places = order.to(self.x_NF.device), places.to(self.x_NF.device)
        return torch.stack([order, self.neighbors_NJ[order, places]], 1).view(steps, size, 2)

    def _labels(self) -> Tensor:
        """The clusters (N, E) of the k-means that each head starts from."""
        config = self.config
        near_NJ = self.neighbors_NJ[:, : config.smoothing_neighbors]
        features = [self.x_NF]
        for _ in range(min(config.smoothing, config.heads - 1)):
            features.append(smoothed(features[-1], near_NJ))
        found = []
        with stage("Starts of the heads", total=config.heads) as advance:
            for head in range(config.heads):
                start = spherical_kmeans(
                    features[head % len(features)], self.clusters, seed=mix(self.seed, 1, head), starts=STARTS,
                    iterations=ITERATIONS, tolerance=TOLERANCE,
                )  # fmt: skip
                found.append(start.labels_N)
                advance()
        return torch.stack(found, 1)


def _rate(step: int, steps: int) -> float:
    """Share of the highest learning rate."""
    return min(1.0, (step + 1) / max(1.0, WARM_UP * steps)) * (1 + math.cos(math.pi * step / steps)) / 2
