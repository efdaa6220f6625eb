"""The estimators as clusterers of a recipe: fitted on a subsample, everything else assigned by likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pydantic import Field
from sklearn.decomposition import PCA

from imcswav.clusterers import Array, Clusterer
from imcswav.errors import DataError, ImcswavError
from imcswav_sdp.estimators import ILASDP, SDPKMeans
from imcswav_sdp.likelihood import log_likelihoods
from imcswav_sdp.program import Solver


class SDPClusterer(Clusterer):
    """Base of both: principal components of all images, the program on some of them, all by likelihood."""

    class Config(Clusterer.Config):
        subsample: int = Field(200, ge=2)
        """Images, drawn by the recipe's seed, on which the program is solved; all where there are fewer. Time grows
        with its cube, memory with its square, for ``ila_sdp`` both times the number of clusters."""
        components: int | None = Field(10, ge=1)
        """Principal components of the features that are kept, at most as many as there are; unset: all features."""
        solver: Solver = "torch"
        """ADMM in torch, or cvxpy with SCS (imcswav-sdp[scs]), for a subsample of about 100."""
        tolerance: float = Field(1e-3, gt=0)
        """Relative, of the program's constraints and of its duality gap."""
        max_iterations: int = Field(1000, ge=1)
        """Most iterations of the solver in one program."""

    config: Config

    def fit(self, features_NF: Array) -> Array:
        """Labels (N,), by likelihood for the subsample too.

        Raises DataError for fewer images than clusters and for NaN, ImcswavError where cvxpy is missing.
        """
        features_NF = self.checked(features_NF, fitting=True).astype(np.float64)
        count = min(self.config.subsample, len(features_NF))
        if count < self.clusters:
            raise DataError(f"A subsample of {count} images has fewer than {self.clusters} clusters; raise subsample.")
        axes = self._axes(features_NF)
        draw = np.random.default_rng(self.seed)
        chosen_B = np.sort(draw.choice(len(features_NF), count, replace=False))
        fitted = self._estimator(
            n_clusters=self.clusters,
            solver=self.config.solver,
            tol=self.config.tolerance,
            max_iter=self.config.max_iterations,
            random_state=self.seed % 2**32,  # scikit-learn takes 32 bits
        )
        try:
            fitted.fit((features_NF[chosen_B] - axes["centre"]) @ axes["axes"].T)
        except ImportError as error:
            raise ImcswavError(f"clusterer.{error}") from error
        found = axes | {"means": fitted.means_, "covariances": fitted.covariances_}
        self.state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in found.items()}
        return np.asarray(self.predict_proba(features_NF).argmax(1), dtype=np.int64)

    def predict_proba(self, features_NF: Array) -> Array:
        """Likelihoods of an image (N, K), scaled to sum 1: clusters count alike, whatever their size."""
        state = self.state
        points_NF = torch.from_numpy(self.checked(features_NF).astype(np.float64))
        points_ND = (points_NF - state["centre"]) @ state["axes"].T
        return np.asarray(log_likelihoods(points_ND, state["means"], state["covariances"]).softmax(1).numpy())

    def _axes(self, features_NF: Array) -> dict[str, Array]:
        """Centre (F,) and axes (D, F) of the components."""
        width = features_NF.shape[1]
        if self.config.components is None:
            return {"centre": np.zeros(width), "axes": np.eye(width)}
        kept = min(self.config.components, *features_NF.shape)
        found = PCA(kept, random_state=self.seed % 2**32).fit(features_NF)
        return {"centre": found.mean_, "axes": found.components_}

    def _estimator(self, **settings: Any) -> SDPKMeans | ILASDP:
        raise NotImplementedError


class SDPKMeansClusterer(SDPClusterer, name="sdp_kmeans"):
    """k-means by Peng and Wei's semidefinite relaxation (SIAM J. Optim. 18, 2007), without starts.

    ``predict_proba`` is that of equal round clusters: the nearest centre is the most likely.
    """

    class Config(SDPClusterer.Config):
        pass

    config: Config

    def _estimator(self, **settings: Any) -> SDPKMeans:
        return SDPKMeans(**settings)


class ILASDPClusterer(SDPClusterer, name="ila_sdp"):
    """Gaussian clusters by iterative likelihood-adjusted semidefinite programs (Zhuang, Chen & Yang 2023, 2209.15097).

    Each cluster has a covariance of its own, so a subsample should have many more images a cluster than components.
    """

    class Config(SDPClusterer.Config):
        ridge: float = Field(1e-2, gt=0)
        """Added to the variances, as a share of the mean variance of the components."""
        max_rounds: int = Field(15, ge=1)
        """Most turns of program and covariances."""

    config: Config

    def _estimator(self, **settings: Any) -> ILASDP:
        return ILASDP(ridge=self.config.ridge, max_rounds=self.config.max_rounds, round_tol=1e-3, **settings)
