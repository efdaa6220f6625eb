"""Gaussian mixture over features, fitted by expectation–maximisation (Dempster, Laird & Rubin 1977)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from imcswav.clusterers import Array, Clusterer, unit_rows
from imcswav.clusterers._modules import Mixture
from imcswav.errors import DataError
from imcswav.plugins import hookimpl


class GaussianMixture(Clusterer, name="gaussian_mixture"):
    """scikit-learn's Gaussian mixture in float64; ``predict_proba`` is its posterior."""

    class Config(Clusterer.Config):
        covariance: Literal["full", "tied", "diag", "spherical"] = "diag"
        """A matrix a cluster, one for all, a diagonal a cluster, or a variance a cluster. A full matrix of F
        features wants far more than F images a cluster."""
        regularization: float = Field(1e-6, ge=0)
        """Added to the variances, in squared feature units."""
        n_init: int = Field(1, ge=1)
        """Starts (from k-means), of which the most likely is kept."""
        max_iterations: int = Field(100, ge=1)
        """Most iterations of a start."""
        normalize: bool = False
        """Scale features to length 1 first."""

    config: Config

    def fit(self, features_NF: Array) -> Array:
        """Labels (N,); raises DataError for fewer images than clusters, NaN, or a singular covariance."""
        features_NF = self._prepared(features_NF, fitting=True)
        estimator = self._estimator(
            reg_covar=self.config.regularization,
            n_init=self.config.n_init,
            max_iter=self.config.max_iterations,
            random_state=self.seed % 2**32,  # scikit-learn takes 32 bits
        )
        try:
            labels_N = estimator.fit_predict(features_NF)
        except ValueError as error:
            raise DataError(
                f"The Gaussian mixture could not be fitted to {len(features_NF)} images ({error}); raise "
                f"regularization or choose a simpler covariance."
            ) from error
        names = ("weights", "means", "precisions_cholesky")
        self.state = {name: torch.from_numpy(getattr(estimator, f"{name}_").copy()) for name in names}
        return np.asarray(labels_N, dtype=np.int64)

    def predict_proba(self, features_NF: Array) -> Array:
        """Posterior (N, K)."""
        estimator = self._estimator()
        for name, tensor in self.state.items():
            setattr(estimator, f"{name}_", tensor.numpy())
        return np.asarray(estimator.predict_proba(self._prepared(features_NF)))

    def module(self) -> nn.Module:
        """The same in torch, in float32."""
        return Mixture(**self.state, covariance=self.config.covariance, normalize=self.config.normalize)

    def _estimator(self, **settings: Any) -> Any:
        from sklearn.mixture import GaussianMixture as Estimator  # a second to import

        return Estimator(self.clusters, covariance_type=self.config.covariance, **settings)

    def _prepared(self, features_NF: Array, fitting: bool = False) -> Array:
        features_NF = self.checked(features_NF, fitting=fitting).astype(np.float64)
        return unit_rows(features_NF) if self.config.normalize else features_NF


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [GaussianMixture]
