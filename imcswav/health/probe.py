"""How the network sees a few training images: whether features and clusters are spread or have fallen together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from imcswav.batchnorm import evaluating, reestimate
from imcswav.clusterers import Array
from imcswav.model import Model
from imcswav.results.signals import effective_clusters
from imcswav.seeding import mix

if TYPE_CHECKING:
    from imcswav.trainer import Trainer

SAMPLE = 512
"""Images that are looked at, the same ones all along: shares are then known to 2 in a hundred."""
KEY = 5
"""Of the random stream that chooses them."""


@dataclass(frozen=True)
class Look:
    """Figures at one time, and each image's cluster (n,), None where the learner has no clusters of its own."""

    figures: dict[str, float]
    clusters_n: Array | None


@torch.no_grad()
def look(trainer: Trainer, before: Array | None) -> Look:
    """Assign the sample with batch-norm statistics of the sample itself; the learner is left as it was.

    ``before`` are the clusters of the look before, for the churn.
    """
    recipe, data, learner = trainer.recipe, trainer.data, trainer.learner
    generator = torch.Generator().manual_seed(mix(recipe.seed, KEY))
    chosen_n = torch.randperm(len(data.train), generator=generator)[:SAMPLE].sort().values
    images = data.train.images[chosen_n.to(data.train.images.device)]
    model = Model(learner, facts=data.facts, clusters=recipe.clusters, precision=recipe.trainer.precision)
    with evaluating(learner):
        reestimate(learner, images, model.embed_upright, mode="train", batch_size=SAMPLE, seed=recipe.seed)
        found = model.embed(images)
    clusters_n = None if found.probabilities is None else found.probabilities.argmax(1).cpu().numpy()
    return Look(spread(found.features) | shares(clusters_n, before), clusters_n)


def spread(features_NF: Tensor) -> dict[str, float]:
    """``feature_std`` and ``feature_rank``; none of features that aren't finite.

    ``feature_std`` is √F times the mean over dimensions of the standard deviation of unit-length features, in [0, 1]:
    0 where all images are alike, 1 where features point everywhere (SimSiam, arXiv 2011.10566, section 4.1).
    ``feature_rank`` is exp of the entropy of the singular values' shares of the centred features, in [1, F]; 0 where
    all are alike (effective rank, Roy & Vetterli 2007).
    """
    x_NF = features_NF.cpu().double()
    if not torch.isfinite(x_NF).all():
        return {}
    unit_NF = torch.nn.functional.normalize(x_NF, dim=1)
    std = unit_NF.std(0, correction=0).mean() * math.sqrt(x_NF.shape[1])
    values = torch.linalg.svdvals(x_NF - x_NF.mean(0))
    alike = values.sum() <= 1e-9 * x_NF.norm()  # what is left is rounding
    rank = 0.0 if alike else float(torch.special.entr(values / values.sum()).sum().exp())
    return {"feature_std": float(std), "feature_rank": rank}


def shares(clusters_n: Array | None, before_n: Array | None) -> dict[str, float]:
    """``effective_clusters`` and ``largest_share`` of the images' clusters, and ``churn`` since those ``before``.

    Churn is the share of images whose cluster is another one.
    """
    if clusters_n is None:
        return {}
    figures = {
        "effective_clusters": effective_clusters(clusters_n),
        "largest_share": float(np.bincount(clusters_n).max() / len(clusters_n)),
    }
    return figures if before_n is None else figures | {"churn": float((clusters_n != before_n).mean())}
