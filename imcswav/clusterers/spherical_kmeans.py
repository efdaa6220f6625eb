"""k-means of directions over features."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import nn

from imcswav.clusterers import Array, Clusterer
from imcswav.clusterers._modules import NearestDirection
from imcswav.clusterers._spherical import memberships, spherical_kmeans
from imcswav.plugins import hookimpl


class SphericalKMeans(Clusterer, name="spherical_kmeans"):
    """k-means by cosine whose centres are directions too (Dhillon & Modha 2001), best of ``n_init`` starts.

    It gives no probabilities. ``predict_proba`` is softmax(cos / s), where s is the mean 1 − cos of the training
    images with their own centres: an order of confidence, not a calibrated one.
    """

    class Config(Clusterer.Config):
        n_init: int = Field(10, ge=1)
        """Starts, of which the one with the largest mean cosine is kept."""
        max_iterations: int = Field(100, ge=1)
        """Most iterations of a start."""
        tolerance: float = Field(0.0, ge=0, lt=1)
        """Share of images that may still change cluster when a start ends before that."""

    config: Config

    def fit(self, features_NF: Array) -> Array:
        """Labels (N,); raises DataError for fewer images than clusters and for NaN."""
        config = self.config
        found = spherical_kmeans(
            torch.from_numpy(self.checked(features_NF, fitting=True)),
            self.clusters,
            seed=self.seed,
            starts=config.n_init,
            iterations=config.max_iterations,
            tolerance=config.tolerance,
        )
        self.state = {"centres": found.centres_KF, "scale": 1 - found.objective.double()}
        return np.asarray(found.labels_N.numpy())

    def predict_proba(self, features_NF: Array) -> Array:
        """softmax(cos / s), (N, K); the nearest centre is the most likely."""
        rows_NF = torch.from_numpy(self.checked(features_NF).astype(np.float64))
        return np.asarray(memberships(rows_NF, self.state["centres"].double(), self._scale()).numpy())

    def module(self) -> nn.Module:
        """The same in torch."""
        return NearestDirection(self.state["centres"], self._scale())

    def _scale(self) -> float:
        return max(self.state["scale"].item(), 1e-6)  # 0 when every image is its own centre


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [SphericalKMeans]
