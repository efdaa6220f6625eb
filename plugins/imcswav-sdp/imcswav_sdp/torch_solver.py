"""The program by the alternating direction method of multipliers, in torch alone.

Consensus form (Boyd et al. 2011, section 7): X keeps the equations and the objective, P is positive semidefinite, Q is
non-negative, and both are pulled towards X with the scaled multipliers U and W. X has a closed form, P takes an
eigendecomposition of each matrix, O(M N³) an iteration. Memory is about ten times that of the affinities.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imcswav_sdp.program import Program, Solution

RELAXATION = 1.6
"""Over-relaxation; between 1.5 and 1.8 is usual."""
EVERY = 10
"""Iterations between two looks at the gap, which cost an eigendecomposition."""
ADAPT = (20, 40, 80, 160, 320, 640)
"""Iterations at which the penalty may change: fewer and fewer, since every change costs what was gained."""
UNBALANCED = 3.0


def solve_torch(program: Program, *, tolerance: float, max_iter: int, start: Solution | None = None) -> Solution:
    """Iterate until cones are kept and the duality gap is closed to ``tolerance``, at most ``max_iter`` times."""
    A_MNN, traces_M = program.affinities_MNN, program.traces_M
    scale = A_MNN.norm().clamp_min(1e-300) / traces_M.sum().sqrt()
    A_MNN = A_MNN / scale
    size = traces_M.sum().sqrt()  # ‖Z‖ of a partition
    P, Q, U, W, penalty = start.state if start is not None and start.state else _initial(A_MNN, traces_M)
    X, bound, done, iteration = P, torch.full((), torch.nan), False, 0
    for iteration in range(1, max_iter + 1):
        X, y_N, _ = onto_equations((P - U + Q - W) / 2 + A_MNN / (2 * penalty), traces_M)
        P_before, Q_before = P, Q
        ahead_P, ahead_Q = (RELAXATION * X + (1 - RELAXATION) * old for old in (P, Q))
        P, Q = onto_semidefinite(ahead_P + U), (ahead_Q + W).clamp_min(0)
        U, W = U + ahead_P - P, W + ahead_Q - Q
        if iteration % EVERY and iteration != max_iter:
            continue
        bound = upper_bound(A_MNN, traces_M, -2 * penalty * y_N, -penalty * W)
        value = (A_MNN * X).sum()
        primal = torch.hypot((X - P).norm(), (X - Q).norm()) / (2**0.5 * size)
        gap = scale * (bound - value).abs() / (1 + scale * value.abs())
        if done := bool((primal <= tolerance) & (gap <= tolerance)):
            break
        if iteration in ADAPT:
            dual = penalty * (P - P_before + Q - Q_before).norm() / A_MNN.norm().clamp_min(1e-300) * size
            factor = 2.0 if primal > UNBALANCED * dual else 0.5 if dual > UNBALANCED * primal else 1.0
            penalty, U, W = penalty * factor, U / factor, W / factor
    return Solution(
        X, program.objective(X), (bound * scale).item(), iteration, done, state=(P, Q, U, W, penalty)
    )  # fmt: skip


def _initial(A_MNN: Tensor, traces_M: Tensor) -> tuple[Tensor, ...]:
    """Every point for itself, with equal shares; no multipliers."""
    count = A_MNN.shape[1]
    eye_MNN = torch.eye(count).to(A_MNN) * (traces_M / count)[:, None, None]
    zero_MNN = torch.zeros_like(A_MNN)
    return eye_MNN, eye_MNN, zero_MNN, zero_MNN, A_MNN.new_tensor(1.0)


def onto_equations(V_MNN: Tensor, traces_M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest symmetric matrices with tr X_m = t_m and Σ_m X_m 1 = 1, and the multipliers: rows' y, traces' s.

    X_m = V_m + (y 1ᵀ + 1 yᵀ) / 2 + s_m I, V_m symmetric. The equations give 1ᵀy first, then Σ s, then y and s.
    """
    matrices, count, _ = V_MNN.shape
    missing_N, found_M = 1 - V_MNN.sum((0, 2)), V_MNN.diagonal(dim1=1, dim2=2).sum(1)
    excess = found_M.sum() - traces_M.sum()
    sum_y = (missing_N.sum() + excess) / (matrices * (count - 1))
    sum_s = -(excess + matrices * sum_y) / count
    y_N = (2 / matrices * (missing_N - sum_s) - sum_y) / count
    s_M = (traces_M - found_M - sum_y) / count
    eye_NN = torch.eye(count).to(V_MNN)
    return V_MNN + (y_N[:, None] + y_N) / 2 + s_M[:, None, None] * eye_NN, y_N, s_M


def onto_semidefinite(V_MNN: Tensor) -> Tensor:
    """The nearest positive semidefinite matrices: negative eigenvalues become 0."""
    values_MN, vectors_MNN = torch.linalg.eigh(V_MNN)
    return (vectors_MNN * values_MN.clamp_min(0)[:, None]) @ vectors_MNN.mT


def upper_bound(A_MNN: Tensor, traces_M: Tensor, y_N: Tensor, N_MNN: Tensor) -> Tensor:
    """An upper bound of the optimum from any y and any N ≥ 0, by weak duality.

    The dual minimises 1ᵀy + Σ_m t_m s_m subject to (y 1ᵀ + 1 yᵀ) / 2 + s_m I − A_m − N_m ⪰ 0; the least s_m that keeps
    it is minus the smallest eigenvalue of the rest.
    """
    rest_MNN = (y_N[:, None] + y_N) / 2 - A_MNN - N_MNN
    return y_N.sum() - (traces_M * torch.linalg.eigvalsh(rest_MNN)[:, 0]).sum()
