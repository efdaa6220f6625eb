"""Clusterers as torch modules, in float32 throughout: not every runtime of exported models knows float64.

Sums are arranged so that float32 suffices: differences are taken before squares.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from torch import Tensor, nn

from imcswav.clusterers._heads import Heads


class NearestCentre(nn.Module):
    """softmax(−d² / scale) of the distances d to centres (K, F)."""

    def __init__(self, centres_KF: Tensor, scale: float, *, normalize: bool) -> None:
        super().__init__()
        self.scale, self.normalize = scale, normalize
        centres_KF = centres_KF.double()
        middle_F = centres_KF.mean(0)
        # seen from the centres' middle |c|² is small, so that |c|² − 2 x·c loses no digits
        self.register_buffer("middle_F", middle_F.float())
        self.register_buffer("centres_KF", (centres_KF - middle_F).float())

    def forward(self, features_NF: Tensor) -> Tensor:
        """(N, F) → (N, K)."""
        features_NF = _unit(features_NF) if self.normalize else features_NF
        centres_KF = self.get_buffer("centres_KF")
        products_NK = (features_NF - self.get_buffer("middle_F")) @ centres_KF.mT
        return ((2 * products_NK - centres_KF.square().sum(1)) / self.scale).softmax(1)


class NearestDirection(nn.Module):
    """softmax(cos / scale) of the cosines with directions (K, F)."""

    def __init__(self, centres_KF: Tensor, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("centres_KF", centres_KF.float())

    def forward(self, features_NF: Tensor) -> Tensor:
        """(N, F) → (N, K)."""
        return (_unit(features_NF) @ self.get_buffer("centres_KF").mT / self.scale).softmax(1)


class Mixture(nn.Module):
    """Posterior of Gaussians with ``means`` (K, F) and Cholesky factors of their precisions, as scikit-learn's.

    The factors are (K, F, F) for "full" ``covariance``, (F, F) for "tied", (K, F) for "diag", (K,) for "spherical".
    """

    def __init__(
        self, weights: Tensor, means: Tensor, precisions_cholesky: Tensor, *, covariance: str, normalize: bool
    ) -> None:
        super().__init__()
        self.covariance, self.normalize = covariance, normalize
        clusters, width = means.shape
        roots = precisions_cholesky.double()
        if covariance in ("full", "tied"):
            diagonals = roots.diagonal(dim1=-2, dim2=-1)
        else:  # a column a cluster, for rows to be multiplied with
            roots = roots.view(clusters, 1, -1)
            diagonals = roots[:, 0].expand(clusters, width)
        self.register_buffer("roots", roots.float())
        self.register_buffer("means_K1F", means.unsqueeze(1).float())
        self.register_buffer("offsets_K", (diagonals.log().sum(-1) + weights.double().log()).float())

    def forward(self, features_NF: Tensor) -> Tensor:
        """(N, F) → (N, K)."""
        features_NF = _unit(features_NF) if self.normalize else features_NF
        apart_KNF, roots = features_NF - self.get_buffer("means_K1F"), self.get_buffer("roots")
        scaled_KNF = apart_KNF @ roots if self.covariance in ("full", "tied") else apart_KNF * roots
        return (self.get_buffer("offsets_K") - scaled_KNF.square().sum(2).T / 2).softmax(1)


class OneHead(nn.Module):
    """softmax(cos / temperature) of a head (``imcswav.clusterers._heads.Heads``) on centred, scaled features."""

    def __init__(self, state: Mapping[str, Tensor], temperature: float, *, normalize: bool) -> None:
        super().__init__()
        self.temperature, self.normalize = temperature, normalize
        weights = {name: value for name, value in state.items() if name not in ("mean", "scale")}
        self.head = Heads.restore(weights).float().requires_grad_(False)
        self.register_buffer("mean_F", state["mean"].float())
        self.register_buffer("scale", state["scale"].float())

    def forward(self, features_NF: Tensor) -> Tensor:
        """(N, F) → (N, K)."""
        features_NF = _unit(features_NF) if self.normalize else features_NF
        cosines_NEK: Tensor = self.head((features_NF - self.get_buffer("mean_F")) / self.get_buffer("scale"))
        return (cosines_NEK.squeeze(1) / self.temperature).softmax(1)


def _unit(features_NF: Tensor) -> Tensor:
    """Rows of length 1; zeros stay."""
    return F.normalize(features_NF, dim=1, eps=torch.finfo(torch.float32).tiny)
