"""The clusterer ``slk``: k-means or k-modes with a Laplacian term, and with known labels where there are some."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from imcswav.clusterers import Array, Clusterer, Known
from imcswav_fewshot.bounds import Found, cluster, costs
from imcswav_fewshot.graph import bandwidth, nearest, nearest_to, pull_of
from imcswav_fewshot.prepare import centred_unit, shift, shifted


class SLK(Clusterer, name="slk"):
    """Prototypes with a Laplacian term that pulls neighbours together (Ziko et al., arXiv 2106.09516).

    ``laplacian = 0`` is k-means (means) or k-modes (modes). Without known labels it starts from k-means++ draws and
    keeps the clustering of least energy; a cluster with known images starts from their mean. ``predict_proba`` is
    softmax(−a + λ Σ z of the nearest training images): of a training image without a known label what ``fit`` found,
    of a new one the same as if it didn't count for the others. The state holds the training features.
    """

    class Config(Clusterer.Config):
        prototypes: Literal["mean", "mode"] = "mean"
        """Mean of a cluster with squared distances, or its mode by mean-shift with a Gaussian kernel."""
        laplacian: float = Field(0.7, ge=0)
        """λ, the weight of the pull between neighbours; 0.7 is the paper's without tuning."""
        neighbors: int = Field(2, ge=1)
        """Nearest other images that pull on an image. (The authors' program counts the image itself: 3.)"""
        clamp: bool = True
        """Known labels stay. False: they decide the first prototypes alone, as in the authors' program."""
        center: bool = True
        """Subtract the mean of the features that are fitted."""
        normalize: bool = True
        """Scale to length 1 then; λ is meant for such rows."""
        shift: bool = False
        """Move the images without a known label so that their mean is that of the known ones. For few shots, where
        both hold the classes alike; harmful where they don't."""
        n_init: int = Field(10, ge=1)
        """Starts, where a cluster has no known image; the one of least energy is kept."""
        max_iterations: int = Field(100, ge=1)
        """Most moves of the prototypes."""

    config: Config
    uses_known: ClassVar[bool] = True

    def fit(self, features_NF: Array, known: Known | None = None) -> Array:
        """Labels (N,); raises DataError for fewer images than clusters, NaN, and known labels that don't fit."""
        raw_NF = torch.from_numpy(self.checked(features_NF, fitting=True))
        known_N = torch.full((len(raw_NF),), -1)
        if known is not None:
            known = self.checked_known(known, len(raw_NF))
            known_N[torch.from_numpy(known.index)] = torch.from_numpy(known.label)
        mean_F = raw_NF.mean(0) if self.config.center else None
        x_1NF, known_1N = self._prepared(raw_NF, mean_F).unsqueeze(0), known_N.unsqueeze(0)
        shift_F = shift(x_1NF, known_1N)[0, 0] if self.config.shift else torch.zeros_like(x_1NF[0, 0])
        x_1NF = shifted(x_1NF, known_1N) if self.config.shift else x_1NF
        all_known = len(known_N[known_N >= 0].unique()) == self.clusters
        near_1Nk = nearest(x_1NF, self.config.neighbors)
        found = min(
            (
                transduce(x_1NF, self._start(x_1NF[0], known_N, start).unsqueeze(0), known_1N, self.config, near_1Nk)
                for start in range(1 if all_known else self.config.n_init)
            ),
            key=lambda one: one.energy_E.item(),
        )
        self.state = {
            "features": x_1NF[0], "shares": found.shares_ENK[0], "prototypes": found.prototypes_EKF[0],
            "shift": shift_F, "variance": bandwidth(x_1NF, near_1Nk).view(()),
            "mean": torch.zeros_like(shift_F) if mean_F is None else mean_F,
        }  # fmt: skip
        return np.asarray(found.labels_EN[0].numpy())

    def predict_proba(self, features_NF: Array) -> Array:
        """softmax(−a + λ Σ z) as above, (N, K)."""
        state = self.state
        rows_MF = torch.from_numpy(self.checked(features_NF)).to(state["features"].dtype)
        x_MF = self._prepared(rows_MF, state["mean"]) + state["shift"]
        modes = self.config.prototypes == "mode"
        a_MK = costs(x_MF, state["prototypes"], state["variance"] if modes else None)
        if self.config.laplacian:
            near_Mk = nearest_to(x_MF, state["features"], self.config.neighbors)
            a_MK = a_MK - self.config.laplacian * state["shares"][near_Mk].sum(1)
        return np.asarray((-a_MK).softmax(-1).numpy())

    def _prepared(self, x_NF: Tensor, mean_F: Tensor | None) -> Tensor:
        if self.config.normalize:
            return centred_unit(x_NF, mean_F)
        return x_NF if mean_F is None else x_NF - mean_F

    def _start(self, x_NF: Tensor, known_N: Tensor, start: int) -> Tensor:
        """Means of the known images (K, F); other clusters start from k-means++ draws (Arthur & Vassilvitskii 2007)."""
        generator = torch.Generator().manual_seed(self.seed % 2**62 + start)
        centres_KF = x_NF.new_empty(self.clusters, x_NF.shape[1])
        gaps_N = torch.full((len(x_NF),), torch.inf, dtype=torch.float64)
        given = known_N[known_N >= 0].unique().tolist()
        for k in [*given, *(k for k in range(self.clusters) if k not in given)]:
            if k in given:
                centres_KF[k] = x_NF[known_N == k].mean(0)
            else:  # any row where there is no centre yet, or where every row is one
                chances_N = gaps_N if 0 < gaps_N.sum() < torch.inf else torch.ones_like(gaps_N)
                centres_KF[k] = x_NF[torch.multinomial(chances_N, 1, generator=generator)[0]]
            gaps_N = gaps_N.minimum((x_NF - centres_KF[k]).square().sum(1).double())
        return centres_KF


def transduce(
    x_ENF: Tensor, prototypes_EKF: Tensor, known_EN: Tensor, config: SLK.Config, near_ENk: Tensor | None = None
) -> Found:
    """E prepared sets of rows, each from its first prototypes; their nearest others may be known already."""
    near_ENk = nearest(x_ENF, config.neighbors) if near_ENk is None else near_ENk
    return cluster(
        x_ENF, prototypes_EKF, pull_of(near_ENk), weight=config.laplacian, known_EN=known_EN, clamp=config.clamp,
        variance_E11=bandwidth(x_ENF, near_ENk) if config.prototypes == "mode" else None, rounds=config.max_iterations,
    )  # fmt: skip
