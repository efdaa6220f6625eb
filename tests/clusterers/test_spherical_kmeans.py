"""Spherical k-means against plain float64 loops, and what it makes of awkward features."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from imcswav.clusterers import _spherical
from imcswav.clusterers._spherical import memberships, spherical_kmeans
from imcswav.clusterers.spherical_kmeans import SphericalKMeans
from imcswav.errors import DataError
from imcswav.metrics.acc import accuracy


def cloud(count: int = 300, width: int = 6, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def directions(count: int, seed: int, spread: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Rows of any length around five directions, two of them opposite; which row is of which."""
    random = np.random.default_rng(seed)
    means, labels = np.concatenate([np.eye(4, 8), -np.eye(1, 8)]), np.arange(count) % 5
    rows = means[labels] + random.normal(size=(count, 8)) * spread
    return (rows * random.uniform(0.1, 50, (count, 1))).astype(np.float32), labels


def looped(rows: list[list[float]], centres: list[list[float]], iterations: int) -> tuple[list[int], list[list[float]]]:
    """Lloyd's iterations over unit rows, no cluster of which may run empty."""

    def nearest(row: list[float]) -> int:
        cosines = [sum(a * b for a, b in zip(row, centre, strict=True)) for centre in centres]
        return cosines.index(max(cosines))

    labels = [nearest(row) for row in rows]
    for _ in range(iterations):
        for k in range(len(centres)):
            total = [math.fsum(column) for column in zip(*(r for r, j in zip(rows, labels, strict=True) if j == k))]  # noqa: B905
            centres[k] = [value / math.hypot(*total) for value in total]
        labels = [nearest(row) for row in rows]
    return labels, centres


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_iterations_are_the_loop(iterations: int) -> None:
    x_NF = cloud()
    start = spherical_kmeans(x_NF, 7, seed=3, iterations=0)
    found = spherical_kmeans(x_NF, 7, seed=3, iterations=iterations)
    rows = [[value / math.hypot(*row) for value in row] for row in x_NF.tolist()]
    labels, centres = looped(rows, start.centres_KF.tolist(), iterations)
    assert found.labels_N.tolist() == labels
    torch.testing.assert_close(found.centres_KF, torch.tensor(centres, dtype=torch.float64), rtol=1e-10, atol=1e-12)
    own = [sum(a * b for a, b in zip(row, centres[k], strict=True)) for row, k in zip(rows, labels, strict=True)]
    assert math.isclose(found.objective.item(), sum(own) / len(own), rel_tol=1e-10)


def test_as_good_as_scikit_learn() -> None:
    from sklearn.cluster import KMeans as Estimator

    x_NF = cloud(600, 10)
    unit = (x_NF / x_NF.norm(dim=1, keepdim=True)).numpy()
    theirs = Estimator(20, n_init=3, random_state=0).fit_predict(unit)
    objective = sum(np.linalg.norm(unit[theirs == k].sum(0)) for k in range(20)) / len(unit)
    assert spherical_kmeans(x_NF, 20, seed=0, starts=3).objective.item() > objective - 0.01


def test_objective_never_falls() -> None:
    x_NF = cloud(400, 5)
    values = [spherical_kmeans(x_NF, 40, seed=0, iterations=i).objective.item() for i in range(15)]
    assert all(after >= before - 1e-12 for before, after in pairwise(values))
    assert values[-1] > values[0] + 0.005


def test_given_centres_are_one_more_start() -> None:
    x_NF = cloud()
    good, drawn = (spherical_kmeans(x_NF, 7, seed=3, iterations=i) for i in (50, 0))
    for starts in (0, 1):
        found = spherical_kmeans(x_NF, 7, seed=3, starts=starts, iterations=0, also_KF=5 * good.centres_KF)
        assert torch.equal(found.labels_N, good.labels_N)
    bad_KF = drawn.centres_KF[:1].expand(7, -1)
    again = spherical_kmeans(x_NF, 7, seed=3, iterations=0, also_KF=bad_KF)
    assert torch.equal(again.labels_N, drawn.labels_N)


def test_more_starts_are_never_worse() -> None:
    x_NF = cloud(200, 8)
    for seed in (1, 2, 3):
        values = [spherical_kmeans(x_NF, 20, seed=seed, starts=starts).objective.item() for starts in (1, 2, 4, 8)]
        assert values == sorted(values)
        assert values[0] < values[-1]


def test_tolerance_ends_a_start_early() -> None:
    x_NF = cloud(400, 5)
    early = spherical_kmeans(x_NF, 40, seed=0, tolerance=0.999)
    assert torch.equal(early.labels_N, spherical_kmeans(x_NF, 40, seed=0, iterations=1).labels_N)


@pytest.mark.parametrize("clusters", [10, 100])
def test_chunks_change_nothing(clusters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x_NF = cloud()
    whole = spherical_kmeans(x_NF, clusters, seed=0, starts=2)
    for chunk in (7, 1000):
        monkeypatch.setattr(_spherical, "CHUNK", chunk)
        parts = spherical_kmeans(x_NF, clusters, seed=0, starts=2)
        assert torch.equal(parts.labels_N, whole.labels_N)
        torch.testing.assert_close(parts.centres_KF, whole.centres_KF, rtol=1e-9, atol=1e-12)


def test_sums_without_a_fixed_order_of_adding(monkeypatch: pytest.MonkeyPatch) -> None:
    x_NF = cloud()
    expected = spherical_kmeans(x_NF, 10, seed=0)
    monkeypatch.setattr(_spherical, "ORDERED", ())  # as on a GPU
    found = spherical_kmeans(x_NF, 10, seed=0)
    assert torch.equal(found.labels_N, expected.labels_N)
    torch.testing.assert_close(found.centres_KF, expected.centres_KF, rtol=1e-9, atol=1e-12)


def test_lengths_do_not_matter() -> None:
    x_NF = cloud()
    lengths_N1 = 2.0 ** torch.randint(-300, 300, (300, 1), generator=torch.Generator().manual_seed(2)).double()
    for given in (x_NF * lengths_N1, x_NF * 2.0**-600, x_NF * 2.0**600):  # squares would be 0 or infinite
        scaled = spherical_kmeans(given, 10, seed=0)
        assert torch.equal(scaled.labels_N, spherical_kmeans(x_NF, 10, seed=0).labels_N)


def test_seed_decides_and_nothing_else() -> None:
    x_NF = cloud()
    torch.manual_seed(0)
    first = spherical_kmeans(x_NF, 20, seed=2**40)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    second = spherical_kmeans(x_NF, 20, seed=2**40)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.labels_N, second.labels_N)
    assert torch.equal(first.centres_KF, second.centres_KF)
    assert not torch.equal(spherical_kmeans(x_NF, 20, seed=1).labels_N, first.labels_N)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_is_promoted(dtype: torch.dtype) -> None:
    features, labels = directions(100, 1)
    x_NF = torch.from_numpy(features).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = spherical_kmeans(x_NF, 5, seed=0, starts=3)
        shares_NK = memberships(x_NF, found.centres_KF, 0.1)
    assert found.centres_KF.dtype == shares_NK.dtype == torch.float32
    assert not found.centres_KF.requires_grad
    assert accuracy(labels, found.labels_N.numpy()) == 1.0
    torch.testing.assert_close(found.centres_KF.norm(dim=1), torch.ones(5))


def test_one_cluster_and_a_cluster_a_row() -> None:
    x_NF = cloud(12, 20)
    unit_NF = x_NF / x_NF.norm(dim=1, keepdim=True)
    one = spherical_kmeans(x_NF, 1, seed=0)
    assert one.labels_N.tolist() == [0] * 12
    mean_F = unit_NF.sum(0)
    torch.testing.assert_close(one.centres_KF[0], mean_F / mean_F.norm())
    each = spherical_kmeans(x_NF, 12, seed=0)
    assert sorted(each.labels_N.tolist()) == list(range(12))
    assert math.isclose(each.objective.item(), 1.0)


def test_every_direction_is_found_however_rare() -> None:
    x_NF = torch.eye(6)[torch.tensor([0] * 500 + [1, 2, 3, 4, 5])]
    found = spherical_kmeans(x_NF, 6, seed=0)
    assert sorted(found.labels_N.unique().tolist()) == list(range(6))
    assert found.objective.item() == 1.0


def test_empty_clusters_take_the_rows_that_fit_worst() -> None:
    x_NF = torch.eye(6)[torch.arange(60) % 6] + cloud(60, 6, dtype=torch.float32) * 0.05
    x_NF = x_NF / x_NF.norm(dim=1, keepdim=True)
    centres_KF = -torch.eye(6)[0].repeat(6, 1)  # no row is near
    centres_KF[0] = x_NF[0]
    found = _spherical._refine(x_NF, centres_KF, 50, 0.0)
    assert len(found.labels_N.unique()) == 6
    assert found.objective > 0.8


def test_fewer_directions_than_clusters() -> None:
    x_NF = torch.eye(3, 5)[torch.arange(30) % 3] * torch.linspace(1, 9, 30).unsqueeze(1)
    found = spherical_kmeans(x_NF, 8, seed=0, starts=2)
    assert accuracy(np.arange(30) % 3, found.labels_N.numpy()) == 1.0
    assert math.isclose(found.objective.item(), 1.0, rel_tol=1e-6)
    assert found.centres_KF.isfinite().all()


def test_rows_of_zeros_move_nothing() -> None:
    x_NF = cloud(60)
    alone = spherical_kmeans(x_NF, 60, seed=0)  # a cluster each, so zeros must not take one
    found = spherical_kmeans(torch.cat([torch.zeros(30, 6, dtype=x_NF.dtype), x_NF]), 60, seed=0)
    assert found.labels_N[:30].tolist() == [0] * 30
    assert sorted(found.labels_N[30:].tolist()) == sorted(alone.labels_N.tolist())
    nothing = spherical_kmeans(torch.zeros(5, 3), 2, seed=0)
    assert nothing.labels_N.tolist() == [0] * 5
    assert nothing.objective.item() == 0.0


def test_opposite_rows_that_cancel_out() -> None:
    x_NF = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = spherical_kmeans(x_NF, 1, seed=0)
    assert found.centres_KF.abs().tolist() == [[1.0, 0.0]]
    assert found.objective.item() == 0.0


@pytest.mark.parametrize(
    ("features", "clusters", "text"),
    [
        (torch.ones(2, 6), 3, "2 images can't be split into 3 clusters"),
        (torch.ones(2, 6), 0, "at least 1 cluster"),
        (torch.ones(2, 6, 1), 2, "shape"),
        (torch.tensor([[1.0, math.nan], [1.0, 2.0]]), 1, "NaN"),
        (torch.tensor([[1.0, math.inf], [1.0, 2.0]]), 1, "infinity"),
    ],
)
def test_what_cannot_be_clustered(features: Tensor, clusters: int, text: str) -> None:
    with pytest.raises(DataError, match=text):
        spherical_kmeans(features, clusters, seed=0)


def test_component_finds_directions_and_places_new_images() -> None:
    features, labels = directions(150, 1)
    clusterer = SphericalKMeans.create(clusters=5, seed=2**40)
    found = clusterer.fit(features)
    assert found.dtype == np.int64
    assert accuracy(labels, found) == 1.0
    new, new_labels = directions(50, 2)
    shares = clusterer.predict_proba(new)
    assert accuracy(np.concatenate([labels, new_labels]), np.concatenate([found, shares.argmax(1)])) == 1.0


def test_component_settings_reach_the_search() -> None:
    features = cloud(200, 8, dtype=torch.float32)
    settings = {"n_init": 2, "max_iterations": 3, "tolerance": 0.01}
    expected = spherical_kmeans(features, 9, seed=4, starts=2, iterations=3, tolerance=0.01)
    found = SphericalKMeans.create(clusters=9, seed=4, **settings).fit(features.numpy())
    np.testing.assert_array_equal(found, expected.labels_N.numpy())


def test_confidence_by_hand() -> None:
    features = directions(60, 1, spread=0.5)[0].astype(np.float64)
    clusterer = SphericalKMeans.create(clusters=3, seed=0)
    labels = clusterer.fit(features)
    unit = np.stack([row / np.sqrt((row**2).sum()) for row in features])
    sums = [unit[labels == k].sum(0) for k in range(3)]
    cosines = np.array([[row @ total / np.sqrt(total @ total) for total in sums] for row in unit])
    scale = np.mean([1 - cosines[i, k] for i, k in enumerate(labels)])
    expected = np.exp(cosines / scale)
    shares = clusterer.predict_proba(features)
    np.testing.assert_allclose(shares, expected / expected.sum(1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(shares.argmax(1), labels)


def test_component_with_a_cluster_an_image() -> None:
    clusterer = SphericalKMeans.create(clusters=3, seed=0)
    labels = clusterer.fit(np.eye(3))
    np.testing.assert_allclose(clusterer.predict_proba(np.eye(3)), np.eye(3)[labels], atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_as_on_the_cpu() -> None:
    x_NF = cloud(5000, 32)
    host = spherical_kmeans(x_NF, 50, seed=0, iterations=10)
    first, second = (spherical_kmeans(x_NF.cuda(), 50, seed=0, iterations=10) for _ in range(2))
    assert first.labels_N.device.type == "cuda"
    assert torch.equal(first.centres_KF, second.centres_KF)
    assert (first.labels_N.cpu() == host.labels_N).float().mean() > 0.999


def test_clusters_beyond_the_directions_are_no_ones_nearest() -> None:
    """Rows of zeros are all that is left to draw: a centre of length 0 would be nearest to the opposite side."""
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    found = spherical_kmeans(features, 4, seed=0)
    torch.testing.assert_close(found.centres_KF.norm(dim=1), torch.ones(4))
    used = set(found.labels_N[:2].tolist())
    for row in ([-1.0, -1.0], [-1.0, 0.0], [1.0, 0.5]):
        assert int(memberships(torch.tensor([row]), found.centres_KF, 0.1).argmax()) in used
