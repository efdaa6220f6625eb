"""scikit-learn estimators: k-means and Gaussian clusters by semidefinite programs.

Labels of the fitted points come from the program. New points go to the cluster under which they are most likely.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from imcswav_sdp.likelihood import affinities, log_likelihoods, moments, partition_matrices, plain_affinity
from imcswav_sdp.program import Program, Solution, Solver, solve

Array = np.ndarray[Any, np.dtype[Any]]


class _SDPEstimator(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """What both share: settings of the solver, and new points by likelihood."""

    n_clusters: int
    solver: Solver
    tol: float
    max_iter: int
    device: str
    means_: Array
    covariances_: Array

    def predict(self, X: Any) -> Array:
        """The most likely cluster of each row (N,)."""
        labels: Array = self._log_likelihoods(X).argmax(1).numpy()
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Likelihoods of a row (N, K), scaled to sum 1: clusters count alike, whatever their size."""
        shares: Array = self._log_likelihoods(X).softmax(1).numpy()
        return shares

    def _log_likelihoods(self, X: Any) -> Tensor:
        check_is_fitted(self)
        points_NF = torch.from_numpy(validate_data(self, X, reset=False, dtype=np.float64))
        return log_likelihoods(points_NF, torch.from_numpy(self.means_), torch.from_numpy(self.covariances_))

    def _points(self, X: Any) -> Tensor:
        """Rows as float64 on the device; raises ValueError for too few."""
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        if not 1 <= self.n_clusters <= len(rows):
            raise ValueError(f"n_clusters={self.n_clusters} must be at least 1 and at most n_samples={len(rows)}.")
        return torch.from_numpy(rows).to(self.device)

    def _solve(self, program: Program, start: Solution | None = None) -> Solution:
        found = solve(program, self.solver, tolerance=self.tol, max_iter=self.max_iter, start=start)
        if not found.converged:
            message = f"the program isn't solved to tol={self.tol} after {found.iterations} iterations; raise max_iter."
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
        return found


class SDPKMeans(_SDPEstimator):
    """k-means by Peng and Wei's semidefinite relaxation, without starts; rounded by its leading eigenvectors.

    ``inertia_`` is the k-means objective of the labels, ``inertia_bound_`` a lower bound of every partition's ("torch"
    only): where they are equal, no better partition exists.

    Parameters: ``n_clusters``; ``solver`` "torch" or "scs"; ``tol``, relative, of constraints and duality gap;
    ``max_iter`` of the solver; ``random_state`` of the rounding's k-means; ``device`` of "torch".
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        solver: Solver = "torch",
        tol: float = 1e-4,
        max_iter: int = 3000,
        random_state: Any = None,
        device: str = "cpu",
    ) -> None:
        self.n_clusters, self.solver, self.tol, self.max_iter = n_clusters, solver, tol, max_iter
        self.random_state, self.device = random_state, device

    def fit(self, X: Any, y: Any = None) -> Self:
        """Cluster rows (N, F); raises ValueError for fewer rows than clusters."""
        points_NF = self._points(X)
        found = self._solve(Program.kmeans(plain_affinity(points_NF), self.n_clusters))
        labels_N = self._rounded(found.matrices_MNN[0])
        matrices_KNN = partition_matrices(torch.from_numpy(labels_N), self.n_clusters).to(self.device)
        self.labels_ = labels_N
        self.inertia_ = -(plain_affinity(points_NF) * matrices_KNN.sum(0)).sum().item()
        self.inertia_bound_, self.objective_, self.n_iter_ = -found.bound, found.objective, found.iterations
        means_KF, _ = moments(points_NF, matrices_KNN, 0.0)
        self.means_ = means_KF.cpu().numpy()
        # one variance for all: the most likely cluster is the nearest
        variance = max(self.inertia_ / points_NF.numel(), 1e-12)
        self.covariances_ = np.tile(variance * np.eye(points_NF.shape[1]), (self.n_clusters, 1, 1))
        return self

    def _rounded(self, matrix_NN: Tensor) -> Array:
        vectors_NK = torch.linalg.eigh(matrix_NN).eigenvectors[:, -self.n_clusters :].cpu().numpy()
        draw = check_random_state(self.random_state)
        labels_N = KMeans(self.n_clusters, n_init=10, random_state=draw).fit_predict(vectors_NK)
        return np.asarray(labels_N, dtype=np.int64)


class ILASDP(_SDPEstimator):
    """Gaussian clusters with covariances of their own by iterative likelihood-adjusted semidefinite programs.

    From the clusters of `SDPKMeans`, by turns the program for the covariances and the covariances for its solution; a
    point belongs to the matrix with its largest row sum (Zhuang, Chen and Yang 2023, arXiv 2209.15097; derived from the
    likelihood, see ``likelihood.py``, not from their program). ``objective_`` is −2 log likelihood, negated and up to a
    constant, of the last round; ``objectives_`` of all.

    Parameters: as `SDPKMeans`; ``ridge`` on the covariances' diagonals, as a share of the data's mean variance;
    ``max_rounds``; ``round_tol``, the relative change of the objective that ends the rounds.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        ridge: float = 1e-3,
        max_rounds: int = 15,
        round_tol: float = 1e-4,
        solver: Solver = "torch",
        tol: float = 1e-4,
        max_iter: int = 3000,
        random_state: Any = None,
        device: str = "cpu",
    ) -> None:
        self.n_clusters, self.ridge, self.max_rounds, self.round_tol = n_clusters, ridge, max_rounds, round_tol
        self.solver, self.tol, self.max_iter = solver, tol, max_iter
        self.random_state, self.device = random_state, device

    def fit(self, X: Any, y: Any = None) -> Self:
        """Cluster rows (N, F); raises ValueError for fewer rows than clusters and for no round."""
        if self.max_rounds < 1:
            raise ValueError(f"max_rounds={self.max_rounds} must be at least 1.")
        points_NF = self._points(X)
        ridge = (self.ridge * points_NF.var(0, correction=0).mean()).clamp_min(1e-12)
        names = ("n_clusters", "solver", "tol", "max_iter", "random_state", "device")
        first = SDPKMeans(**{name: getattr(self, name) for name in names}).fit(points_NF.cpu().numpy())
        matrices_KNN = partition_matrices(torch.from_numpy(first.labels_), self.n_clusters).to(self.device)
        found: Solution | None = None
        self.objectives_: list[float] = []
        for _ in range(self.max_rounds):
            _, covariances_KFF = moments(points_NF, matrices_KNN, ridge)
            found = self._solve(Program.likelihood(affinities(points_NF, covariances_KFF)), start=found)
            matrices_KNN = found.matrices_MNN.clamp_min(0)  # then covariances are semidefinite, however it was solved
            self.objectives_.append(found.objective)
            if _settled(self.objectives_, self.round_tol):
                break
        assert found is not None
        means_KF, covariances_KFF = moments(points_NF, matrices_KNN, ridge)
        self.means_, self.covariances_ = means_KF.cpu().numpy(), covariances_KFF.cpu().numpy()
        self.labels_ = found.shares_NM.argmax(1).cpu().numpy()
        self.objective_, self.n_iter_ = self.objectives_[-1], len(self.objectives_)
        return self


def _settled(objectives: list[float], tolerance: float) -> bool:
    return len(objectives) > 1 and abs(objectives[-1] - objectives[-2]) <= tolerance * (1 + abs(objectives[-1]))
