"""Regularised clustering by concave–convex bounds (arXiv 2106.09516; Ziko, Granger & Ben Ayed, NeurIPS 2018).

Memberships z (N, K) and prototypes c in turn minimise, for a symmetric affinity W,

    E(z, c) = Σ_i Σ_k z_ik a_ik + Σ_i Σ_k z_ik log z_ik − (λ/2) Σ_k z_kᵀ W z_k,

a_ik = |x_i − c_k|² (means) or −exp(−|x_i − c_k|² / 2σ²) (modes). The entropy is what relaxing z from {0, 1} costs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from imcswav_fewshot.graph import Pull

TOLERANCE = 1e-7
"""Relative change of the energy at which memberships have settled."""
UPDATES = 600
"""Most updates of the memberships between two moves of the prototypes."""
SHIFTS, SHIFT_TOLERANCE = 1000, 1e-5
"""Most mean-shift steps, and the largest coordinate's relative change at which a mode is found."""


class Found(NamedTuple):
    """E clusterings."""

    labels_EN: Tensor
    """int64."""
    shares_ENK: Tensor
    """Memberships; rows sum to 1."""
    prototypes_EKF: Tensor
    energy_E: Tensor
    """Of the labels as they are, without the entropy: Σ_i a_i − (λ/2) Σ_ij w_ij [same cluster]."""


def costs(x_ENF: Tensor, prototypes_EKF: Tensor, variance_E11: Tensor | None) -> Tensor:
    """a (E, N, K): squared distances, or minus the kernel where there is a variance σ²."""
    # differences, not a product of matrices: exact where a row is its own prototype
    squares_ENK: Tensor = torch.cdist(x_ENF, prototypes_EKF, compute_mode="donot_use_mm_for_euclid_dist").square()
    if variance_E11 is None:
        return squares_ENK
    kernel_ENK: Tensor = torch.exp(-squares_ENK / (2 * variance_E11))
    return kernel_ENK.neg()


def energy(costs_ENK: Tensor, z_ENK: Tensor, pull: Pull, weight: float) -> Tensor:
    """E(z) above, (E,); ``weight`` is λ."""
    total_E: Tensor = (z_ENK * (costs_ENK - pull(z_ENK) * (weight / 2)) + torch.special.xlogy(z_ENK, z_ENK)).sum((1, 2))
    return total_E


def memberships(costs_ENK: Tensor, pull: Pull, weight: float, fixed_ENK: Tensor, is_fixed_EN1: Tensor) -> Tensor:
    """z ← softmax(−a + λ W z) until the energy settles, from softmax(−a); fixed rows stay as they are.

    Each update minimises a bound that touches E at the last z, so E never rises where W is symmetric and positive
    semi-definite.
    """
    z_ENK = torch.where(is_fixed_EN1, fixed_ENK, (-costs_ENK).softmax(-1))
    last_E = energy(costs_ENK, z_ENK, pull, weight)
    done_E = torch.full_like(last_E, weight == 0, dtype=torch.bool)
    for _ in range(UPDATES):
        if bool(done_E.all()):
            break
        new_ENK = torch.where(is_fixed_EN1, fixed_ENK, (weight * pull(z_ENK) - costs_ENK).softmax(-1))
        z_ENK = torch.where(done_E.view(-1, 1, 1), z_ENK, new_ENK)  # one's result doesn't depend on the others
        now_E = energy(costs_ENK, z_ENK, pull, weight)
        done_E |= (now_E - last_E).abs() <= TOLERANCE * last_E.abs()
        last_E = now_E
    return z_ENK


def moved(x_ENF: Tensor, labels_EN: Tensor, prototypes_EKF: Tensor, variance_E11: Tensor | None) -> Tensor:
    """Means of the clusters, or their modes by mean-shift from where they were; an empty cluster's stays."""
    member_ENK = torch.nn.functional.one_hot(labels_EN, prototypes_EKF.shape[1]).to(x_ENF.dtype)
    counts_EK1 = member_ENK.sum(1).unsqueeze(-1)
    if variance_E11 is None:
        means_EKF = member_ENK.mT @ x_ENF / counts_EK1.clamp_min(1)
        return torch.where(counts_EK1 > 0, means_EKF, prototypes_EKF)
    modes_EKF, outside_ENK, done_EK1 = prototypes_EKF.clone(), member_ENK.log(), counts_EK1 == 0
    for _ in range(SHIFTS):
        going_S = (~done_EK1).any(1).flatten().nonzero().flatten()  # most are found soon
        if not len(going_S):
            break
        x_SNF, from_SKF, done_SK1 = x_ENF[going_S], modes_EKF[going_S], done_EK1[going_S]
        exponents_SNK = outside_ENK[going_S] - costs(x_SNF, from_SKF, None) / (2 * variance_E11[going_S])
        shifted_SKF = exponents_SNK.softmax(1).mT @ x_SNF  # in logarithms, so that far rows can't sum to 0
        modes_EKF[going_S] = torch.where(done_SK1, from_SKF, shifted_SKF)
        largest_SK1 = from_SKF.abs().amax(2, keepdim=True)
        change_SK1 = (shifted_SKF - from_SKF).abs().amax(2, keepdim=True)
        done_EK1[going_S] = done_SK1 | (change_SK1 <= SHIFT_TOLERANCE * largest_SK1)
    return modes_EKF


def cluster(
    x_ENF: Tensor,
    prototypes_EKF: Tensor,
    pull: Pull,
    *,
    weight: float,
    variance_E11: Tensor | None = None,
    known_EN: Tensor | None = None,
    clamp: bool = True,
    rounds: int = 100,
) -> Found:
    """Memberships and prototypes in turn, until no label changes or ``rounds`` are over.

    ``known_EN``: labels that are given, −1 elsewhere. They decide the first prototypes; with ``clamp`` they stay
    throughout (the paper), else they may change after that (its released program). ``weight`` is λ.
    """
    known_EN = x_ENF.new_full(x_ENF.shape[:2], -1, dtype=torch.int64) if known_EN is None else known_EN
    given_EN = known_EN >= 0
    fixed_ENK = torch.nn.functional.one_hot(known_EN.clamp_min(0), prototypes_EKF.shape[1]).to(x_ENF.dtype)
    is_fixed_EN1 = (given_EN & clamp).unsqueeze(-1)
    labels_EN = torch.where(given_EN, known_EN, costs(x_ENF, prototypes_EKF, None).argmin(-1))
    done_E = x_ENF.new_zeros(len(x_ENF), dtype=torch.bool)
    for _ in range(rounds):
        next_EKF = moved(x_ENF, labels_EN, prototypes_EKF, variance_E11)
        prototypes_EKF = torch.where(done_E.view(-1, 1, 1), prototypes_EKF, next_EKF)
        costs_ENK = costs(x_ENF, prototypes_EKF, variance_E11)
        shares_ENK = memberships(costs_ENK, pull, weight, fixed_ENK, is_fixed_EN1)
        before_EN, labels_EN = labels_EN, shares_ENK.argmax(-1)
        done_E = done_E | (labels_EN == before_EN).all(1)
        if bool(done_E.all()):
            break
    hard_ENK = torch.nn.functional.one_hot(labels_EN, prototypes_EKF.shape[1]).to(x_ENF.dtype)
    return Found(labels_EN, shares_ENK, prototypes_EKF, energy(costs_ENK, hard_ENK, pull, weight))
