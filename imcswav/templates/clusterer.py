"""Bisecting k-means over features: clusters are split in two until there are enough."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from scipy.special import softmax

from imcswav.clusterers import Array, Clusterer
from imcswav.plugins import hookimpl


class Mine(Clusterer, name="mine"):
    """scikit-learn's BisectingKMeans; new images go to the nearest centre.

    ``predict_proba`` is softmax(−d² / s), d the distance to each centre and s the training images' mean d² to the
    nearest: an order of confidence, not a calibrated one.
    """

    class Config(Clusterer.Config):
        n_init: int = Field(5, ge=1)
        """Starts of each split, of which the best is kept."""

    config: Config

    def fit(self, features_NF: Array) -> Array:
        """Labels (N,); raises DataError for fewer images than clusters and for NaN."""
        from sklearn.cluster import BisectingKMeans

        features_NF = self.checked(features_NF, fitting=True)
        estimator = BisectingKMeans(self.clusters, n_init=self.config.n_init, random_state=self.seed % 2**32)
        estimator.fit(features_NF)
        # all that prediction needs, as tensors: they are saved with the model
        self.state = {"centres": torch.from_numpy(estimator.cluster_centers_.copy()), "scale": torch.ones(1)}
        distances_NK = self._distances(features_NF)
        self.state["scale"] = torch.tensor([float(distances_NK.min(1).mean())])
        return np.asarray(distances_NK.argmin(1), dtype=np.int64)

    def predict_proba(self, features_NF: Array) -> Array:
        """softmax(−d² / s), (N, K); the nearest centre is the most likely."""
        scale = max(self.state["scale"].item(), 1e-12)
        return np.asarray(softmax(-self._distances(self.checked(features_NF)) / scale, axis=1))

    def _distances(self, features_NF: Array) -> Array:
        """Squared distances (N, K) to the centres."""
        rows_NF, centres_KF = features_NF.astype(np.float64), self.state["centres"].double().numpy()
        products_NK = rows_NF @ centres_KF.T
        squares_N1, squares_K = np.square(rows_NF).sum(1, keepdims=True), np.square(centres_KF).sum(1)
        return np.asarray((squares_N1 - 2 * products_NK + squares_K).clip(min=0))


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
