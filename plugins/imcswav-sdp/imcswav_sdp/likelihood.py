"""Gaussian likelihoods of clusters, written for the membership matrices Z of a program.

With labels as parameters and means profiled out, −2 log L of clusters G_k with covariances Σ_k is, up to a constant,
Σ_k [ n_k log|Σ_k| + 1/(2 n_k) Σ_{i,j ∈ G_k} (x_i − x_j)ᵀ Σ_k⁻¹ (x_i − x_j) ] = −Σ_k ⟨A_k, Z_k⟩ (Zhuang, Chen and Yang
2023). All is float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def affinities(points_NF: Tensor, covariances_KFF: Tensor) -> Tensor:
    """A_k (K, N, N): −½ (x_i − x_j)ᵀ Σ_k⁻¹ (x_i − x_j) − log|Σ_k|."""
    roots_KFF = torch.linalg.cholesky(covariances_KFF)
    white_KNF = _whitened(points_NF, roots_KFF)
    distances_KNN = torch.cdist(white_KNF, white_KNF, compute_mode="donot_use_mm_for_euclid_dist").square()
    return -distances_KNN / 2 - _log_determinants(roots_KFF)[:, None, None]


def plain_affinity(points_NF: Tensor) -> Tensor:
    """−½ |x_i − x_j|², (N, N): the k-means objective of a partition is −⟨A, Z⟩."""
    return affinities(points_NF, torch.eye(points_NF.shape[1]).to(points_NF)[None])[0]


def moments(points_NF: Tensor, matrices_KNN: Tensor, ridge: Tensor | float) -> tuple[Tensor, Tensor]:
    """Means (K, F) and covariances (K, F, F) of clusters given by matrices, ``ridge`` (squared units) on the diagonal.

    Σ_k = Xᵀ (diag(Z_k 1) − Z_k) X / (1ᵀ Z_k 1), which maximises Σ ⟨A_k, Z_k⟩; of a partition it is the clusters' own.
    """
    shares_KN = matrices_KNN.sum(2)
    totals_K = shares_KN.sum(1)
    means_KF = shares_KN @ points_NF / totals_K[:, None]
    centred_NF = points_NF - points_NF.mean(0)  # the same, but no difference of large numbers
    scatter_KFF = centred_NF.T @ (torch.diag_embed(shares_KN) - matrices_KNN) @ centred_NF
    covariances_KFF = (scatter_KFF + scatter_KFF.mT) / (2 * totals_K[:, None, None])
    return means_KF, covariances_KFF + ridge * torch.eye(points_NF.shape[1]).to(points_NF)


def partition_matrices(labels_N: Tensor, clusters: int) -> Tensor:
    """Z_k = 1_G 1_Gᵀ / n_k (K, N, N) of labels in 0 … K−1; zeros for an empty cluster."""
    members_NK = torch.nn.functional.one_hot(labels_N, clusters).double()
    counts_K = members_NK.sum(0).clamp_min(1)
    return torch.einsum("ik,jk->kij", members_NK / counts_K, members_NK)


def log_likelihoods(points_NF: Tensor, means_KF: Tensor, covariances_KFF: Tensor) -> Tensor:
    """Log density (N, K) of each point in each cluster."""
    roots_KFF = torch.linalg.cholesky(covariances_KFF)
    distances_KN = _whitened(points_NF - means_KF[:, None], roots_KFF).square().sum(2)
    constant = points_NF.shape[1] * math.log(2 * math.pi)
    return -(distances_KN + _log_determinants(roots_KFF)[:, None] + constant).T / 2


def _whitened(points_NF: Tensor, roots_KFF: Tensor) -> Tensor:
    """L_k⁻¹ x for every point, (K, N, F)."""
    columns_KFN = points_NF.mT.expand(len(roots_KFF), -1, -1)
    return torch.linalg.solve_triangular(roots_KFF, columns_KFN, upper=False).mT


def _log_determinants(roots_KFF: Tensor) -> Tensor:
    return 2 * roots_KFF.diagonal(dim1=1, dim2=2).log().sum(1)
