"""The estimators: scikit-learn's manners, the experiment, and mutations of the method that undo it."""

import numpy as np
import pytest
import torch
from imcswav_sdp import ILASDP, SDPKMeans, estimators
from imcswav_sdp.crossed import crossed, measure, methods
from imcswav_sdp.likelihood import affinities
from plain_sdp import blobs, inertia
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from imcswav.metrics.acc import accuracy

SEEDS = [0, 1, 2, 3, 4]
QUICK = {"tol": 1e-3, "max_iter": 1000}


@pytest.fixture(scope="module")
def errors():
    """Share of misplaced points of each method for each seed, as in the README."""
    return {name: measure(method, SEEDS, 60)[0] for name, method in methods().items() if "true" not in name}


def test_crossed_gaussians(errors):
    found = errors["iLA-SDP"]
    assert found.mean() <= 0.12
    assert found.mean() <= errors["k-means, 10 starts"].mean() - 0.06
    assert found.max() <= 0.2
    assert found.mean() <= errors["EM, best of 10 random starts"].mean() + 0.02


def error_of_mutated(monkeypatch, mutated):
    monkeypatch.setattr(estimators, "affinities", mutated)
    return np.mean([1 - accuracy(labels, ILASDP(2, random_state=s, **QUICK).fit_predict(x)) for s, x, labels in data()])


def data():
    return [(seed, *crossed(60, seed)) for seed in SEEDS[:3]]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pooled_covariances_find_no_more_than_kmeans(errors, monkeypatch):
    def pooled(points_NF, covariances_KFF):
        return affinities(points_NF, covariances_KFF.mean(0, keepdim=True).expand_as(covariances_KFF))

    assert error_of_mutated(monkeypatch, pooled) > errors["iLA-SDP"].mean() + 0.06


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_without_the_determinant_the_wide_cluster_takes_all(monkeypatch):
    draw = np.random.default_rng(0)
    labels = np.arange(40) % 2
    points = draw.normal(size=(40, 2)) * np.where(labels, 0.2, 3.0)[:, None] + [[2.0, 0.0]] * labels[:, None]
    right = accuracy(labels, ILASDP(2, random_state=0, **QUICK).fit_predict(points))

    def no_determinant(points_NF, covariances_KFF):
        found_KNN = affinities(points_NF, covariances_KFF)
        return found_KNN - found_KNN.diagonal(dim1=1, dim2=2)[..., None]

    monkeypatch.setattr(estimators, "affinities", no_determinant)
    wrong = accuracy(labels, ILASDP(2, random_state=0, **QUICK).fit_predict(points))
    assert right >= 0.85
    assert wrong <= right - 0.15


def test_the_objective_never_falls():
    points, _ = crossed(40, 0)
    found = ILASDP(2, ridge=1e-8, round_tol=0.0, max_rounds=6, tol=1e-5, random_state=0).fit(points)
    assert len(found.objectives_) == 6
    assert min(np.diff(found.objectives_)) > -1e-3 * abs(found.objective_)
    assert found.objectives_[-1] > found.objectives_[0] + 1


@pytest.mark.parametrize("cls", [SDPKMeans, ILASDP])
def test_moving_all_points_changes_no_label(cls):
    points, _ = crossed(30, 1)
    first, second = (cls(2, random_state=0).fit_predict(x) for x in (points, points + np.array([1000.0, -50.0])))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("cls", [SDPKMeans, ILASDP])
def test_well_separated_clusters_and_new_points(cls):
    points, labels = blobs(36, 3)
    found = cls(3, random_state=0).fit(points)
    assert accuracy(labels, found.labels_) == 1.0
    np.testing.assert_array_equal(found.predict(points), found.labels_)
    new, new_labels = blobs(15, 3, seed=5)
    assert accuracy(np.r_[labels, new_labels], np.r_[found.labels_, found.predict(new)]) == 1.0
    np.testing.assert_allclose(found.predict_proba(new).sum(1), 1)


def test_new_points_go_by_likelihood():
    points, _ = crossed(40, 0)
    found = ILASDP(2, random_state=0).fit(points)
    new = np.random.default_rng(9).normal(size=(20, 2)) * 4
    density = np.stack(
        [multivariate_normal(*pair).pdf(new) for pair in zip(found.means_, found.covariances_, strict=True)], 1
    )
    np.testing.assert_allclose(found.predict_proba(new), density / density.sum(1, keepdims=True), rtol=1e-6)


def test_kmeans_bounds_its_own_inertia():
    points, labels = blobs(36, 3)
    found = SDPKMeans(3, random_state=0).fit(points)
    assert found.inertia_ == pytest.approx(inertia(points, labels))
    assert found.inertia_bound_ == pytest.approx(found.inertia_, rel=1e-2)  # no partition is better
    hard = SDPKMeans(2, random_state=0).fit(crossed(30, 0)[0])
    assert hard.inertia_bound_ <= hard.inertia_ + 1e-9


def test_a_program_that_is_not_solved_warns():
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        SDPKMeans(2, max_iter=3, random_state=0).fit(crossed(20, 0)[0])


@pytest.mark.parametrize("cls", [SDPKMeans, ILASDP])
def test_more_clusters_than_points(cls):
    with pytest.raises(ValueError, match="at most n_samples=4"):
        cls(5).fit(np.eye(4))
    with pytest.raises(ValueError, match="max_rounds=0"):
        ILASDP(2, max_rounds=0).fit(np.eye(4))


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([SDPKMeans(3, **QUICK), ILASDP(3, max_rounds=3, tol=1e-3, max_iter=300)])
def test_scikit_learns_manners(estimator, check):
    torch.set_num_threads(1)
    check(estimator)
