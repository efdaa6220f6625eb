"""The one semidefinite program behind both methods, and what a solver gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Solver = Literal["torch", "scs"]


@dataclass(frozen=True)
class Program:
    """Maximise Σ_m ⟨A_m, Z_m⟩ over Z_m ⪰ 0, Z_m ≥ 0 with tr Z_m = t_m and Σ_m Z_m 1 = 1.

    With one matrix and t = K it is Peng and Wei's relaxation of k-means (SIAM J. Optim. 18, 2007); with K matrices and
    t = 1 the likelihood-adjusted program (Zhuang, Chen and Yang 2023, arXiv 2209.15097), in which a cluster G of n_k
    points is Z_k = 1_G 1_Gᵀ / n_k. ``affinities_MNN`` are symmetric float64, ``traces_M`` the t_m.
    """

    affinities_MNN: Tensor
    traces_M: Tensor

    @classmethod
    def kmeans(cls, affinities_NN: Tensor, clusters: int) -> Program:
        """Peng–Wei's."""
        return cls(affinities_NN[None], affinities_NN.new_tensor([float(clusters)]))

    @classmethod
    def likelihood(cls, affinities_KNN: Tensor) -> Program:
        """The likelihood-adjusted one."""
        return cls(affinities_KNN, affinities_KNN.new_ones(len(affinities_KNN)))

    def objective(self, matrices_MNN: Tensor) -> float:
        """Σ_m ⟨A_m, Z_m⟩."""
        return (self.affinities_MNN * matrices_MNN).sum().item()


@dataclass(frozen=True)
class Solution:
    """Matrices (M, N, N) that fulfil the equations, and the cones (⪰ 0, ≥ 0) up to the tolerance.

    ``bound`` is an upper bound of the program's optimum by weak duality, and so of every partition's objective, however
    far the solver came; NaN where the solver gives none. ``state`` starts the torch solver on a similar program.
    """

    matrices_MNN: Tensor
    objective: float
    bound: float
    iterations: int
    converged: bool
    state: tuple[Tensor, ...] = ()

    @property
    def shares_NM(self) -> Tensor:
        """Row sums Z_m 1: how much of a point belongs to each matrix; rows sum to 1."""
        return self.matrices_MNN.sum(2).T


def solve(
    program: Program,
    solver: Solver = "torch",
    *,
    tolerance: float = 1e-4,
    max_iter: int = 3000,
    start: Solution | None = None,
) -> Solution:
    """Solve to a relative ``tolerance`` of cones and of the duality gap.

    "torch" runs on the device of the affinities; "scs" is cvxpy with SCS, to compare, for N of about 100. ``start``, a
    solution of a program of the same shape, speeds up "torch". Raises ImportError where cvxpy or SCS is missing.
    """
    if solver == "scs":
        from imcswav_sdp.scs_solver import solve_scs  # cvxpy takes seconds to import, and may be missing

        return solve_scs(program, tolerance=tolerance, max_iter=max_iter)
    from imcswav_sdp.torch_solver import solve_torch

    with torch.no_grad():
        return solve_torch(program, tolerance=tolerance, max_iter=max_iter, start=start)
