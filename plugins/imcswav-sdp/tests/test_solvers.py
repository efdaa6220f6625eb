"""The program's optimum: against brute force, against SCS, and by its own certificate."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from imcswav_sdp import Program, agreement, solve
from imcswav_sdp.crossed import VARIANCES_KF, crossed
from imcswav_sdp.likelihood import affinities, partition_matrices, plain_affinity
from imcswav_sdp.torch_solver import onto_equations, onto_semidefinite, upper_bound
from plain_sdp import best_partition, blobs, inertia, minus_two_log_likelihood, random_covariances, tensors, violation

missing = [name for name in ("cvxpy", "scs") if importlib.util.find_spec(name) is None]
needs_scs = pytest.mark.skipif(bool(missing), reason=f"{' and '.join(missing)} not installed: imcswav-sdp[scs]")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def symmetric(seed, *shape):
    (found,) = tensors(normal(seed, *shape))
    return found + found.mT


def kmeans_program(points, clusters):
    return Program.kmeans(plain_affinity(*tensors(points)), clusters)


def likelihood_program(points, covariances):
    return Program.likelihood(affinities(*tensors(points, covariances)))


def crossed_program(count, seed):
    return likelihood_program(crossed(count, seed)[0], np.stack([np.diag(row) for row in VARIANCES_KF]))


def test_solutions_keep_the_rules():
    for program in (kmeans_program(crossed(30, 0)[0], 3), crossed_program(30, 0)):
        found = solve(program, tolerance=1e-5)
        broken = violation(program, found.matrices_MNN)
        assert found.converged
        assert max(broken["rows"], broken["traces"]) < 1e-9  # equations hold exactly
        assert max(broken["negative"], broken["indefinite"]) < 1e-4
        assert found.objective == pytest.approx(program.objective(found.matrices_MNN))
        np.testing.assert_allclose(found.shares_NM.sum(1), 1, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_kmeans_optimum_is_no_worse_than_the_best_partition(seed):
    points = normal(seed, 8, 2) + 3 * seed * (np.arange(8) % 2)[:, None]
    cost, _ = best_partition(8, 2, lambda labels: inertia(points, labels))
    found = solve(kmeans_program(points, 2), tolerance=1e-6)
    assert found.objective >= -cost - 1e-3 * (1 + cost)
    assert found.bound >= -cost - 1e-9


def test_well_separated_clusters_are_the_optimum():
    points, labels = blobs(8, 2, far=10.0)
    cost, best = best_partition(8, 2, lambda labels: inertia(points, labels))
    found = solve(kmeans_program(points, 2), tolerance=1e-6)
    assert found.objective == pytest.approx(-cost, rel=1e-4)
    assert [label == best[0] for label in best] == (labels == labels[0]).tolist()
    expected = partition_matrices(torch.from_numpy(labels), 2).sum(0)
    torch.testing.assert_close(found.matrices_MNN[0], expected, rtol=0, atol=1e-3)


def test_likelihood_optimum_is_no_worse_than_the_best_partition():
    for far in (1.0, 10.0):
        points, _ = blobs(8, 2, far=far)
        covariances = random_covariances(2, 2, seed=3)
        cost, best = best_partition(8, 2, lambda labels: minus_two_log_likelihood(points, labels, covariances))  # noqa: B023
        found = solve(likelihood_program(points, covariances), tolerance=1e-6)
        assert found.objective >= -cost - 1e-3 * (1 + abs(cost))
        assert found.bound >= -cost - 1e-9
    assert found.objective == pytest.approx(-cost, rel=1e-4)  # far apart they are equal
    assert found.shares_NM.argmax(1).tolist() == list(best)


def test_equal_covariances_give_the_optimum_of_kmeans():
    """Z_k = Z / K keeps the rules, and Σ Z_k those of k-means: the two optima are one, which neither code knows."""
    points, _ = crossed(24, 1)
    kmeans = solve(kmeans_program(points, 3), tolerance=1e-6)
    likelihood = solve(likelihood_program(points, np.stack([np.eye(2)] * 3)), tolerance=1e-6)
    assert likelihood.objective == pytest.approx(kmeans.objective, rel=1e-3)


def test_the_order_of_points_changes_nothing():
    points, _ = crossed(20, 2)
    order = np.random.default_rng(0).permutation(20)
    first = solve(crossed_program(20, 2), tolerance=1e-6).matrices_MNN
    covariances = np.stack([np.diag(row) for row in VARIANCES_KF])
    second = solve(likelihood_program(points[order], covariances), tolerance=1e-6).matrices_MNN
    torch.testing.assert_close(second, first[:, order][:, :, order], rtol=0, atol=1e-3)


@needs_scs
@pytest.mark.parametrize(("count", "seed"), [(30, 0), (60, 1)])
def test_torch_agrees_with_scs(count, seed):
    for program in (kmeans_program(crossed(count, seed)[0], 2), crossed_program(count, seed)):
        ours, theirs = solve(program), solve(program, "scs", tolerance=1e-6)
        assert theirs.converged
        assert ours.objective == pytest.approx(theirs.objective, rel=1e-3)
        assert ours.bound >= theirs.objective - 1e-3 * abs(theirs.objective)
        broken = violation(program, theirs.matrices_MNN)
        assert max(broken.values()) < 1e-3


@needs_scs
def test_scs_is_told_apart_from_a_wrong_program():
    program = crossed_program(30, 0)
    right = solve(program, "scs", tolerance=1e-5).objective
    wrong = Program(program.affinities_MNN, torch.tensor([1.5, 0.5]).double())  # other traces
    assert abs(solve(wrong, "scs", tolerance=1e-5).objective - right) > 1e-2 * abs(right)


def test_projection_onto_the_equations_is_the_nearest():
    V, traces = symmetric(0, 3, 6, 6), torch.tensor([1.0, 0.5, 1.5]).double()
    X, _, _ = onto_equations(V, traces)
    broken = violation(Program(V, traces), X)
    assert max(broken["rows"], broken["traces"]) < 1e-12
    # the way there is orthogonal to every direction that keeps the equations
    other, _, _ = onto_equations(symmetric(1, 3, 6, 6), traces)
    assert abs(((V - X) * (other - X)).sum().item()) < 1e-9
    assert (other - X).norm() > 1


def test_projection_onto_the_cone():
    values, vectors = np.array([-2.0, -0.1, 0.0, 3.0]), np.linalg.qr(normal(0, 4, 4))[0]
    (V,) = tensors((vectors * values) @ vectors.T)
    np.testing.assert_allclose(onto_semidefinite(V[None])[0], (vectors * values.clip(0)) @ vectors.T, atol=1e-12)


def test_any_multipliers_bound_every_partition():
    program = crossed_program(8, 0)
    covariances = [np.diag(row) for row in VARIANCES_KF]
    cost, _ = best_partition(8, 2, lambda labels: minus_two_log_likelihood(crossed(8, 0)[0], labels, covariances))
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        y = 3 * torch.randn(8, generator=generator, dtype=torch.float64)
        N = torch.rand(2, 8, 8, generator=generator, dtype=torch.float64)
        assert upper_bound(program.affinities_MNN, program.traces_M, y, N + N.mT).item() >= -cost


def test_a_warm_start_is_faster_and_says_the_same():
    program = crossed_program(40, 0)
    cold = solve(program)
    warm = solve(Program(program.affinities_MNN * 1.01, program.traces_M), start=cold)
    assert warm.iterations < cold.iterations / 2
    assert warm.objective == pytest.approx(1.01 * cold.objective, rel=1e-3)


def test_too_few_iterations_are_told():
    found = solve(crossed_program(30, 0), max_iter=5)
    assert (found.converged, found.iterations) == (False, 5)
    assert found.bound >= solve(crossed_program(30, 0)).objective - 0.1  # a bound all the same


def test_the_command_tells_what_was_not_solved(monkeypatch, capsys):
    words = "agreement --points 8 --alone --programs likelihood --iterations"
    for limit, cell in (("5", "| 5, not solved |"), ("9000", " |  |  | ")):
        monkeypatch.setattr(sys, "argv", [*words.split(), limit])
        agreement.main()
        rows = capsys.readouterr().out.splitlines()[2:]
        assert len(rows) == 1
        assert cell in rows[0]
        assert ("not solved" in rows[0]) is (limit == "5")
