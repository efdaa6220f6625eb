"""The updates against plain loops, what they must do, and that a wrong formula would do otherwise."""

from itertools import pairwise

import numpy as np
import pytest
import slk_loops as reference
import torch
from imcswav_fewshot.bounds import cluster, costs, energy, memberships, moved
from imcswav_fewshot.graph import bandwidth, nearest, nearest_to, pull_of
from sklearn.cluster import KMeans


def rows(count=24, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width))


def batch(x):
    return torch.from_numpy(np.array(x)).unsqueeze(0)


def nothing(count):
    return torch.zeros(1, count, 1, dtype=torch.bool)


def positive(count, seed=0):
    """A symmetric positive semi-definite W, dense."""
    root = np.abs(np.random.default_rng(seed).normal(size=(count, 4)))
    return root @ root.T / count


def test_neighbours_are_the_nearest_others():
    x = rows()
    w = np.zeros((24, 24))
    for i, near in enumerate(nearest(batch(x), 3)[0]):
        w[i, near] = 1
    assert (w == reference.neighbor_matrix(x, 3)).all()
    assert (w != w.T).any()  # not symmetric
    assert nearest(batch(x[:3]), 5).shape == (1, 3, 2)
    z = batch(rows(24, 5, 1))
    np.testing.assert_allclose(pull_of(nearest(batch(x), 3))(z)[0], w @ z[0].numpy())
    assert bandwidth(batch(x), nearest(batch(x), 3)).item() == pytest.approx(reference.variance(x, w))


def test_chunks_change_nothing(monkeypatch):
    x = torch.from_numpy(rows(60))
    before = nearest(x.expand(2, -1, -1), 3), nearest_to(x[:25], x, 3)
    monkeypatch.setattr("imcswav_fewshot.graph.CHUNK", 500)
    assert (nearest(x.expand(2, -1, -1), 3) == before[0]).all()
    assert (nearest_to(x[:25], x, 3) == before[1]).all()


def test_a_row_asked_for_again_has_the_neighbours_it_had():
    x = torch.from_numpy(rows(40))
    again, new = nearest_to(x, x, 3), nearest_to(x + 1e-9, x, 3)
    assert (again.sort().values == nearest(x.unsqueeze(0), 3)[0].sort().values).all()
    assert (new == torch.arange(40).unsqueeze(1)).any(1).all()  # it isn't quite the same: the old one is nearest


@pytest.mark.parametrize("modes", [False, True])
def test_costs_and_energy(modes):
    x, prototypes, w = rows(), rows(4, 3, 1), reference.neighbor_matrix(rows(), 2)
    sigma2 = 0.7 if modes else None
    expected = reference.costs(x, prototypes, sigma2)
    found = costs(batch(x), batch(prototypes), None if sigma2 is None else torch.tensor(sigma2, dtype=torch.float64))
    np.testing.assert_allclose(found[0], expected)
    z = np.array([reference.softmax(row) for row in rows(24, 4, 2)])
    z[0] = [0, 1, 0, 0]
    value = energy(found, batch(z), pull_of(nearest(batch(x), 2)), 0.7).item()
    assert value == pytest.approx(reference.energy(expected, z, w, 0.7))
    assert value != pytest.approx(reference.energy(expected, z, w, 1.4))


@pytest.mark.parametrize("known", [{}, {0: 2, 7: 0}])
def test_memberships(known):
    x = rows()
    a, w = reference.costs(x, rows(4, 3, 1)), reference.neighbor_matrix(x, 2)
    fixed, is_fixed = torch.zeros(1, 24, 4, dtype=torch.float64), nothing(24)
    for row, label in known.items():
        fixed[0, row, label], is_fixed[0, row] = 1, True
    found = memberships(batch(a), pull_of(nearest(batch(x), 2)), 0.7, fixed, is_fixed)[0]
    expected = reference.memberships(a, w, 0.7, known, 200)
    np.testing.assert_allclose(found, expected, atol=2e-3)  # it stops when the energy settles
    assert np.abs(expected - reference.memberships(a, w, 1.4, known, 200)).max() > 0.05
    assert np.abs(expected - reference.memberships(a, w.T, 0.7, known, 200)).max() > 0.05
    assert np.abs(expected - reference.memberships(a, w, 0.7, {} if known else {0: 2}, 200)).max() > 0.05


def test_settled_memberships_are_a_minimum_and_the_energy_never_rises(monkeypatch):
    a, w = batch(rows(20, 4) * 2), torch.from_numpy(positive(20))

    def pull(z):
        return w @ z

    z, falling = (-a).softmax(-1), []
    for updates in range(1, 40):
        monkeypatch.setattr("imcswav_fewshot.bounds.UPDATES", updates)
        falling.append(energy(a, memberships(a, pull, 3.0, z, nothing(20)), pull, 3.0).item())
    assert all(after <= before + 1e-9 for before, after in pairwise(falling))
    assert falling[0] - falling[-1] > 0.1
    monkeypatch.setattr("imcswav_fewshot.bounds.TOLERANCE", 0.0)
    monkeypatch.setattr("imcswav_fewshot.bounds.UPDATES", 3000)
    settled = memberships(a, pull, 3.0, z, nothing(20))
    twice = memberships(a, pull, 6.0, z, nothing(20))  # what an update with 2 λ W z would settle at
    draws = [np.random.default_rng(seed).normal(size=(20, 4)) for seed in range(20)]

    def is_minimum(z):
        near = [(z.log() + 1e-3 * batch(draw)).softmax(-1) for draw in draws]
        return all(energy(a, other, pull, 3.0) >= energy(a, z, pull, 3.0) for other in near)

    assert is_minimum(settled)
    assert not is_minimum(twice)


@pytest.mark.parametrize("modes", [False, True])
def test_prototypes(modes):
    x, start = rows(), rows(4, 3, 1)
    labels = torch.arange(24).remainder(3).unsqueeze(0)  # cluster 3 is empty
    sigma2 = torch.tensor(0.7).double().view(1, 1, 1)
    found = moved(batch(x), labels, batch(start), sigma2 if modes else None)[0].numpy()
    for k in range(3):
        expected = reference.mode(x[k::3], start[k], 0.7) if modes else x[k::3].mean(0)
        np.testing.assert_allclose(found[k], expected, atol=1e-3)
        assert np.abs(expected - (x[k::3].mean(0) if modes else reference.mode(x[k::3], start[k], 0.7))).max() > 0.05
    assert (found[3] == start[3]).all()


def test_a_mode_far_from_all_rows_is_found():
    x = batch([[1000.0, 0.0], [1000.0, 0.1]])
    found = moved(x, torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 1, 2).double(), torch.full((1, 1, 1), 0.5))
    np.testing.assert_allclose(found[0, 0], [1000, 0.05], atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_without_the_laplacian_it_is_kmeans_from_the_same_start(seed):
    x = rows(150, 3, seed)
    start = x[:5]
    expected = KMeans(5, init=start, n_init=1, algorithm="lloyd", tol=0).fit(x)
    pull = pull_of(nearest(batch(x), 2))
    found = cluster(batch(x), batch(start), pull, weight=0.0)
    assert (found.labels_EN[0].numpy() == expected.labels_).all()
    np.testing.assert_allclose(found.prototypes_EKF[0], expected.cluster_centers_)
    assert found.energy_E.item() == pytest.approx(expected.inertia_)
    assert (cluster(batch(x), batch(start), pull, weight=0.7).labels_EN[0].numpy() != expected.labels_).any()
    variance = bandwidth(batch(x), nearest(batch(x), 2))
    modes = cluster(batch(x), batch(start), pull, weight=0.0, variance_E11=variance)
    assert (modes.labels_EN[0].numpy() != expected.labels_).any()


@pytest.mark.parametrize("modes", [False, True])
@pytest.mark.parametrize("clamp", [False, True])
def test_the_whole_against_loops(modes, clamp):
    x = rows(18, 2, 3)
    known = {0: 0, 1: 1, 2: 2}
    w = reference.neighbor_matrix(x, 2)
    labels, prototypes, _ = reference.cluster(x, x[:3].copy(), w, 0.7, known, clamp, modes)
    near = nearest(batch(x), 2)
    found = cluster(
        batch(x), batch(x[:3]), pull_of(near), weight=0.7, clamp=clamp,
        variance_E11=bandwidth(batch(x), near) if modes else None,
        known_EN=torch.tensor([[known.get(i, -1) for i in range(18)]]),
    )  # fmt: skip
    assert found.labels_EN[0].tolist() == labels
    np.testing.assert_allclose(found.prototypes_EKF[0], prototypes, atol=1e-3)


def test_labels_that_are_given_stay_if_clamped_and_may_change_if_not():
    x = batch([[0.0], [0.2], [0.4], [5.0], [5.2], [5.4]])
    known = torch.tensor([[0, -1, 1, -1, -1, 1]])  # the third lies with the first two
    start, pull = batch([[0.0], [2.9]]), pull_of(nearest(x, 2))
    kept, free = (cluster(x, start, pull, weight=0.7, known_EN=known, clamp=clamp) for clamp in (True, False))
    assert kept.labels_EN[0, 2] == 1
    assert kept.shares_ENK[0, 2].tolist() == [0, 1]
    assert free.labels_EN.tolist() == [[0, 0, 0, 1, 1, 1]]


@pytest.mark.parametrize("modes", [False, True])
def test_episodes_do_not_hear_of_each_other(modes):
    x = torch.from_numpy(np.stack([rows(30, 3, seed) for seed in range(6)]))
    near = nearest(x, 2)
    variance = bandwidth(x, near) if modes else None
    settings = {"weight": 0.7, "known_EN": torch.arange(30).where(torch.arange(30) < 4, -1).expand(6, -1)}
    every = cluster(x, x[:, :4], pull_of(near), variance_E11=variance, **settings)
    for e in range(6):
        one = cluster(
            x[e : e + 1], x[e : e + 1, :4], pull_of(near[e : e + 1]), weight=0.7,
            variance_E11=None if variance is None else variance[e : e + 1], known_EN=settings["known_EN"][:1],
        )  # fmt: skip
        assert (one.labels_EN[0] == every.labels_EN[e]).all()
        np.testing.assert_allclose(one.shares_ENK[0], every.shares_ENK[e], atol=1e-12)


def test_the_order_of_rows_does_not_matter():
    x = rows(30, 3, 4)
    order = np.random.default_rng(0).permutation(30)
    labels = [
        cluster(batch(y), batch(x[:4]), pull_of(nearest(batch(y), 2)), weight=0.7).labels_EN[0].numpy()
        for y in (x, x[order])
    ]
    assert (labels[0][order] == labels[1]).all()


@pytest.mark.parametrize("clamp", [False, True])
def test_given_labels_decide_the_first_prototypes(clamp):
    x = batch([[0.0], [1.0], [2.0], [10.0]])
    known = torch.tensor([[-1, -1, 1, -1]])  # the third lies nearer to the other prototype
    found = cluster(
        x, batch([[0.0], [10.0]]), pull_of(nearest(x, 2)), weight=0.0, known_EN=known, clamp=clamp, rounds=1
    )
    assert found.prototypes_EKF[0].tolist() == [[0.5], [6.0]]
