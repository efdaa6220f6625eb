"""The program by cvxpy and SCS (O'Donoghue et al. 2016), as the reference."""

from __future__ import annotations

import numpy as np
import torch

from imcswav_sdp.program import Program, Solution


def solve_scs(program: Program, *, tolerance: float, max_iter: int) -> Solution:
    """Solve with SCS's eps = ``tolerance`` on affinities of scaled norm.

    It may take ten times ``max_iter``: a reference should not stop early. Raises ImportError where cvxpy or SCS is
    missing, RuntimeError where SCS finds nothing.
    """
    try:
        import cvxpy
        import scs  # noqa: F401 -- cvxpy finds it by itself, but would tell otherwise what is missing
    except ImportError as error:
        raise ImportError("solver 'scs' needs cvxpy and scs; install imcswav-sdp[scs], or use 'torch'.") from error
    A_MNN, traces_M = program.affinities_MNN.cpu().numpy(), program.traces_M.cpu().numpy()
    count, scale = A_MNN.shape[1], max(float(np.linalg.norm(A_MNN)), 1e-300)
    variables = [cvxpy.Variable((count, count), PSD=True) for _ in A_MNN]
    rules = [variable >= 0 for variable in variables]
    rules += [cvxpy.trace(variable) == trace for variable, trace in zip(variables, traces_M, strict=True)]
    rules.append(cvxpy.sum(sum(variables), axis=1) == np.ones(count))
    value = sum(cvxpy.sum(cvxpy.multiply(A / scale, Z)) for A, Z in zip(A_MNN, variables, strict=True))
    problem = cvxpy.Problem(cvxpy.Maximize(value), rules)
    problem.solve(solver=cvxpy.SCS, eps_abs=tolerance / count, eps_rel=tolerance, max_iters=10 * max_iter)
    if any(variable.value is None for variable in variables):
        raise RuntimeError(f"SCS found no solution (status {problem.status}); raise max_iter, or use solver 'torch'.")
    found_MNN = torch.from_numpy(np.stack([(Z.value + Z.value.T) / 2 for Z in variables])).to(program.affinities_MNN)
    iterations = int(problem.solver_stats.num_iters)
    return Solution(found_MNN, program.objective(found_MNN), float("nan"), iterations, problem.status == cvxpy.OPTIMAL)
