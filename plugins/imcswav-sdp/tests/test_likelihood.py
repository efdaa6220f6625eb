"""The formulas against plain loops; wrong ones give another value."""

import numpy as np
import pytest
import torch
from imcswav_sdp import Program
from imcswav_sdp.likelihood import affinities, log_likelihoods, moments, partition_matrices, plain_affinity
from plain_sdp import inertia, mahalanobis, minus_two_log_likelihood, random_covariances, tensors
from scipy.stats import multivariate_normal

DRAW = np.random.default_rng(1)
POINTS = DRAW.normal(size=(14, 3)) * [1.0, 3.0, 0.5] + 100.0
LABELS = np.array([0, 1, 2, 1, 1, 0, 2, 2, 1, 0, 1, 1, 2, 0])
COVARIANCES = random_covariances(3, 3)


def test_affinities_by_hand():
    found = affinities(*tensors(POINTS, COVARIANCES)).numpy()
    for k, covariance in enumerate(COVARIANCES):
        for i, x in enumerate(POINTS):
            for j, y in enumerate(POINTS):
                expected = -mahalanobis(x, y, covariance) / 2 - np.log(np.linalg.det(covariance))
                assert found[k, i, j] == pytest.approx(expected, abs=1e-8)


def test_a_partitions_objective_is_its_log_likelihood():
    points, covariances = tensors(POINTS, COVARIANCES)
    matrices = partition_matrices(torch.from_numpy(LABELS), 3)
    expected = -minus_two_log_likelihood(POINTS, LABELS, COVARIANCES)
    right = affinities(points, covariances)
    assert Program.likelihood(right).objective(matrices) == pytest.approx(expected, rel=1e-9)
    # mutations: each gives another value
    no_determinant = right - right.diagonal(dim1=1, dim2=2)[..., None]
    pooled = affinities(points, covariances.mean(0).expand(3, 3, 3))
    not_halved = 2 * no_determinant + right.diagonal(dim1=1, dim2=2)[..., None]
    not_inverted = affinities(points, torch.linalg.inv(covariances))
    for wrong in (no_determinant, pooled, not_halved, not_inverted):
        assert abs(Program.likelihood(wrong).objective(matrices) - expected) > 0.1


def test_the_kmeans_objective_is_minus_the_inertia():
    matrix = partition_matrices(torch.from_numpy(LABELS), 3).sum(0)
    program = Program.kmeans(plain_affinity(*tensors(POINTS)), 3)
    assert program.objective(matrix[None]) == pytest.approx(-inertia(POINTS, LABELS), rel=1e-9)
    assert matrix.trace().item() == pytest.approx(program.traces_M.item())


def test_moments_of_a_partition_are_its_clusters_own():
    means, covariances = moments(*tensors(POINTS), partition_matrices(torch.from_numpy(LABELS), 3), 0.25)
    for k in range(3):
        rows = POINTS[np.equal(LABELS, k)]
        np.testing.assert_allclose(means[k], rows.mean(0))
        np.testing.assert_allclose(covariances[k], np.cov(rows.T, bias=True) + 0.25 * np.eye(3), atol=1e-9)


def test_moments_of_soft_matrices_by_hand_and_the_best_there_are():
    draw = np.random.default_rng(2)
    matrices = draw.uniform(size=(2, 14, 14))
    matrices = (matrices + matrices.transpose(0, 2, 1)) / 50
    _, found = moments(*tensors(POINTS, matrices), 0.0)
    for k, Z in enumerate(matrices):
        scatter = np.zeros((3, 3))
        for i in range(14):
            for j in range(14):
                gap = POINTS[i] - POINTS[j]
                scatter += Z[i, j] * np.outer(gap, gap) / 2
        np.testing.assert_allclose(found[k], scatter / Z.sum(), rtol=1e-8)
    points, Z = tensors(POINTS, matrices)
    best = Program.likelihood(affinities(points, found)).objective(Z)
    for seed in range(5):
        nearby = torch.stack([1.05 * found[0], found[1] @ torch.diag(1 + 0.02 * torch.rand(3).double())])
        nearby = (nearby + nearby.mT) / 2 + 1e-3 * seed * torch.eye(3)
        assert Program.likelihood(affinities(points, nearby)).objective(Z) < best


def test_log_likelihoods_are_scipys():
    means = np.stack([POINTS[np.equal(LABELS, k)].mean(0) for k in range(3)])
    found = log_likelihoods(*tensors(POINTS, means, COVARIANCES)).numpy()
    for k in range(3):
        np.testing.assert_allclose(found[:, k], multivariate_normal(means[k], COVARIANCES[k]).logpdf(POINTS))


def test_moving_all_points_changes_no_affinity():
    points, covariances = tensors(POINTS, COVARIANCES)
    moved = affinities(points + torch.tensor([5.0, -3.0, 20.0]), covariances)
    torch.testing.assert_close(moved, affinities(points, covariances), rtol=0, atol=1e-8)
