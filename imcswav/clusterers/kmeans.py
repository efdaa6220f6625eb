"""k-means over features."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import nn

from imcswav.clusterers import Array, Clusterer, unit_rows
from imcswav.clusterers._modules import NearestCentre
from imcswav.plugins import hookimpl
from imcswav.threads import one_blas_thread


class KMeans(Clusterer, name="kmeans"):
    """scikit-learn's k-means (k-means++ starts, Lloyd's algorithm), best of ``n_init`` starts.

    k-means gives no probabilities. ``predict_proba`` is softmax(−d² / s), where d is the distance to each
    centre and s the mean d² of the training images to their own: an order of confidence, not a calibrated
    one.
    """

    class Config(Clusterer.Config):
        n_init: int = Field(20, ge=1)
        """Starts, of which the one with the least inertia is kept."""
        max_iterations: int = Field(300, ge=1)
        """Most iterations of a start."""
        normalize: bool = True
        """Scale features to length 1 first, so that distance orders as cosine does."""

    config: Config

    def fit(self, features_NF: Array) -> Array:
        """Labels (N,); raises DataError for fewer images than clusters and for NaN."""
        from sklearn.cluster import KMeans as Estimator  # a second to import

        features_NF = self._prepared(features_NF, fitting=True)
        estimator = Estimator(
            self.clusters,
            n_init=self.config.n_init,
            max_iter=self.config.max_iterations,
            random_state=self.seed % 2**32,  # scikit-learn takes 32 bits
        )
        with one_blas_thread(features_NF.size):
            estimator.fit(features_NF)
        self.state = {
            "centres": torch.from_numpy(estimator.cluster_centers_.copy()),
            "scale": torch.tensor(estimator.inertia_ / len(features_NF), dtype=torch.float64),
        }
        return np.asarray(estimator.labels_, dtype=np.int64)

    def predict_proba(self, features_NF: Array) -> Array:
        """softmax(−d² / s), (N, K); the nearest centre is the most likely."""
        features_NF = self._prepared(features_NF).astype(np.float64)
        centres_KF = self.state["centres"].double().numpy()
        # |x|² is the same for all centres, so the softmax doesn't need it
        distances_NK = np.square(centres_KF).sum(1) - 2 * features_NF @ centres_KF.T
        from scipy.special import softmax  # slow to import, so only where it is asked for

        return np.asarray(softmax(-distances_NK / self._scale(), axis=1))

    def module(self) -> nn.Module:
        """The same in torch."""
        return NearestCentre(self.state["centres"], self._scale(), normalize=self.config.normalize)

    def _scale(self) -> float:
        return max(self.state["scale"].item(), 1e-12)  # 0 when every image is its own centre

    def _prepared(self, features_NF: Array, fitting: bool = False) -> Array:
        features_NF = self.checked(features_NF, fitting=fitting)
        return unit_rows(features_NF) if self.config.normalize else features_NF


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [KMeans]
