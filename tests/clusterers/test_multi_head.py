"""The clusterer `multi_head`: batched heads, pairs and losses against loops, and what it makes of awkward data."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imcswav.clusterers import Clusterer, _neighbors
from imcswav.clusterers._heads import Heads
from imcswav.clusterers._multi_head import Settings, Training, _rate
from imcswav.clusterers._neighbors import nearest, smoothed
from imcswav.clusterers.multi_head import MultiHead
from imcswav.component import Component
from imcswav.errors import DataError
from imcswav.losses.wpmi import WPMI
from imcswav.metrics.acc import accuracy
from imcswav.progress import shown
from imcswav.testing import check_component

SMALL: dict[str, Any] = {"heads": 4, "hidden": 32, "width": 16, "steps": 200, "batch_size": 64, "device": "cpu"}


def blobs(count: int, seed: int, clusters: int = 4, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % clusters
    return (3 * np.eye(clusters, width)[labels] + 0.3 * random.normal(size=(count, width))).astype(np.float32), labels


def rows(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def heads_of(copies: int, clusters: int = 3) -> Heads:
    heads = Heads(copies, (5, 7, 6, clusters), torch.Generator().manual_seed(1)).double()
    with torch.no_grad():  # biases start as zeros, which would hide where they are added
        for bias in (heads.first_bias, heads.second_bias):
            bias.copy_(rows(bias.numel(), 1, seed=2).view_as(bias))
    return heads


def looped_cosines(state: dict[str, Tensor], row: Tensor) -> list[Tensor]:
    """One head, one row."""
    first, first_bias, second, second_bias, prototypes = (
        state[name][0] for name in ("first", "first_bias", "second", "second_bias", "prototypes")
    )
    hidden = []
    for h in range(first.shape[1]):
        total = first_bias[0, h] + sum(row[f] * first[f, h] for f in range(len(row)))
        hidden.append(total.clamp(min=0))
    output = [
        second_bias[0, d] + sum(value * second[h, d] for h, value in enumerate(hidden)) for d in range(second.shape[1])
    ]
    length = torch.stack([value**2 for value in output]).sum().sqrt()
    found = []
    for prototype in prototypes:
        norm = torch.stack([value**2 for value in prototype]).sum().sqrt()
        found.append(sum(a * b for a, b in zip(output, prototype, strict=True)) / (length * norm))
    return found


def test_heads_at_once_are_heads_in_a_loop() -> None:
    heads, x_MF = heads_of(3), rows(4, 5)
    cosines_MEK = heads(x_MF)
    for copy in range(3):
        state = heads.state(copy)
        expected = torch.stack([torch.stack(looped_cosines(state, row)) for row in x_MF])
        torch.testing.assert_close(cosines_MEK[:, copy], expected, rtol=1e-12, atol=1e-14)
        alone_M1K = Heads.restore(state)(x_MF)
        torch.testing.assert_close(alone_M1K.squeeze(1), expected, rtol=1e-12, atol=1e-14)


def test_restored_heads_draw_nothing_of_others() -> None:
    before = torch.get_rng_state()
    Heads.restore(heads_of(2).state(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("chunk", [2**24, 300])
def test_neighbours_are_scikit_learns(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.neighbors import NearestNeighbors

    monkeypatch.setattr(_neighbors, "CHUNK", chunk)
    x_NF = rows(150, 4) + 10
    expected = NearestNeighbors(n_neighbors=7).fit(x_NF.numpy()).kneighbors(return_distance=False)
    found_NJ = nearest(x_NF, 7)
    np.testing.assert_array_equal(found_NJ.numpy(), expected)
    looped = [sum((x_NF[j] for j in near), x_NF[i]) / 8 for i, near in enumerate(expected.tolist())]
    torch.testing.assert_close(smoothed(x_NF, found_NJ), torch.stack(looped), rtol=1e-12, atol=1e-13)


def test_equal_rows_are_neighbours_but_none_is_its_own() -> None:
    found_NJ = nearest(torch.ones(5, 3), 4)
    assert [sorted(near) for near in found_NJ.tolist()] == [[j for j in range(5) if j != i] for i in range(5)]


@pytest.mark.parametrize(
    ("images", "clusters", "limit", "count"), [(400, 4, 50, 25), (400, 4, 9, 9), (4, 4, 50, 1), (2, 1, 50, 1)]
)
def test_how_many_neighbours(images: int, clusters: int, limit: int, count: int) -> None:
    training = Training(rows(images, 3).float(), clusters, 0, Settings(heads=1, neighbors=limit, steps=1))
    assert training.neighbors_NJ.shape == (images, count)


def test_pairs_are_images_with_their_neighbours_in_rounds() -> None:
    training = Training(rows(40, 3).float(), 2, 5, Settings(heads=1, steps=10, batch_size=16))
    pairs = training.pairs_SBP.view(-1, 2).tolist()
    assert len(pairs) == 160
    for start in range(0, 160, 40):
        assert sorted(image for image, _ in pairs[start : start + 40]) == list(range(40))
    near = training.neighbors_NJ.tolist()
    assert all(other in near[image] for image, other in pairs)
    assert len({places[0].index(places[1]) for places in ((near[i], j) for i, j in pairs)}) == 5  # all are drawn


def looped_losses(student: list[list[float]], teacher: list[list[float]], beta: float, tau: float) -> float:
    """The first step's loss of one head: rows come as the images and then their neighbours."""

    def softmax(row: list[float]) -> list[float]:
        powers = [math.exp(value / tau) for value in row]
        return [power / sum(powers) for power in powers]

    s, t = [softmax(row) for row in student], [softmax(row) for row in teacher]
    size, clusters = len(s) // 2, len(s[0])
    prior = [0.9 / clusters + 0.1 * sum(row[k] for row in t) / len(t) for k in range(clusters)]
    total = 0.0
    for image in range(size):
        pair = image, image + size
        weight = sum(t[pair[0]][k] * t[pair[1]][k] for k in range(clusters))
        for mine, other in (pair, pair[::-1]):
            agreement = sum((s[mine][k] * t[other][k]) ** beta / prior[k] for k in range(clusters))
            total -= weight * math.log(agreement)
    return total / (2 * size)


def test_loss_of_each_head_is_the_loop() -> None:
    training = Training(rows(30, 5), 3, 0, Settings(heads=2, hidden=4, width=4, steps=1, batch_size=8))
    training.heads, student = heads_of(2), heads_of(2)
    with torch.no_grad():
        student.prototypes.add_(rows(2 * 3 * 6, 1, seed=4).view(2, 3, 6))
    loss = WPMI.create(targets="teacher.classifier", beta=0.6, temperature=0.1, target_temperature=0.1)
    images_M = training.pairs_SBP[0].T.flatten()
    cosines_MEK = student(training.x_NF[images_M])
    value, own_E = training._agreement(loss, cosines_MEK, images_M)
    targets_MEK = training.heads(training.x_NF[images_M])
    expected = [looped_losses(cosines_MEK[:, e].tolist(), targets_MEK[:, e].tolist(), 0.6, 0.1) for e in range(2)]
    torch.testing.assert_close(own_E.tolist(), expected, rtol=1e-10, atol=0)
    assert math.isclose(value.item(), sum(expected) / 2, rel_tol=1e-10)


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_heads_are_trained_apart(start: float) -> None:
    """The first of four heads ends where it ends alone, for its start and its draws are the same."""
    x_NF = torch.from_numpy(blobs(60, 1)[0]).double()
    ends, pairs = [], []
    for copies in (1, 4):
        config = Settings(heads=copies, hidden=6, width=5, steps=12, batch_size=20, start=start, smoothing=0)
        training = Training(x_NF, 4, 3, config)
        first = Heads(1, (6, 6, 5, 4), torch.Generator().manual_seed(7)).double()
        for net in (training.student, training.heads):
            net.double()
            with torch.no_grad():
                for ours, theirs in zip(net.parameters(), first.parameters(), strict=True):
                    ours[:1] = theirs
        pairs.append(training.pairs_SBP)
        training.pairs_SBP = pairs[0]
        assert list(training) == list(range(1, 13))
        ends.append((training.heads.state(0), training.losses_E[:1]))
    torch.testing.assert_close(*(state for state, _ in ends), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(*(losses for _, losses in ends), rtol=1e-6, atol=1e-7)


def test_teacher_follows() -> None:
    training = Training(
        rows(30, 5).float(), 3, 0, Settings(heads=2, hidden=4, width=4, steps=8, start=0.5, momentum=0.9)
    )
    before: dict[str, Tensor] = {}
    for done in training:
        for name, value in training.heads.named_parameters():
            own = dict(training.student.named_parameters())[name].detach()
            expected = own if done <= 4 else 0.9 * before[name] + 0.1 * own  # a copy until it is needed
            torch.testing.assert_close(value, expected)
            before[name] = value.clone()


def test_learning_rate_rises_and_falls() -> None:
    rates = [_rate(step, 100) for step in range(100)]
    assert math.isclose(rates[0], 0.1)
    assert math.isclose(rates[50], 0.5)
    assert rates.index(max(rates)) == 9
    assert rates[99] < 1e-3


def test_finds_separated_clusters_and_places_new_images() -> None:
    features, labels = blobs(200, 1)
    clusterer = MultiHead.create(clusters=4, seed=2**40, **SMALL)
    found = clusterer.fit(features)
    assert found.dtype == np.int64
    assert accuracy(labels, found) == 1.0
    new, new_labels = blobs(60, 2)
    shares = clusterer.predict_proba(new)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert accuracy(np.concatenate([labels, new_labels]), np.concatenate([found, shares.argmax(1)])) == 1.0


def test_better_than_kmeans_where_neighbours_know_more() -> None:
    """Hand-written digits lie on sheets that k-means cuts."""
    from sklearn.cluster import KMeans as Estimator
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    kmeans = accuracy(labels, Estimator(10, n_init=3, random_state=0).fit_predict(pixels))
    settings = SMALL | {"heads": 9, "hidden": 64, "width": 32, "steps": 300, "batch_size": 256}
    found = MultiHead.create(clusters=10, seed=0, **settings).fit(pixels)
    assert accuracy(labels, found) > kmeans + 0.02


def test_head_of_least_loss_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    features, trained = blobs(80, 1)[0], []
    iterate = Training.__iter__

    def watched(training: Training) -> Any:
        yield from iterate(training)
        training.losses_E = torch.tensor([3.0, 2.0, 1.0, 2.0])
        trained.append(training)

    monkeypatch.setattr(Training, "__iter__", watched)
    clusterer = MultiHead.create(clusters=4, seed=0, **SMALL)
    clusterer.fit(features)
    torch.testing.assert_close(
        {k: v for k, v in clusterer.state.items() if k not in ("mean", "scale")}, trained[0].heads.state(2)
    )


def test_a_head_without_a_finite_loss_is_not_kept() -> None:
    training = Training(rows(30, 4).float(), 3, 0, MultiHead.Config(heads=3))
    for losses, best in ([math.nan, 2.0, 1.0], 2), ([3.0, math.inf, math.nan], 0), ([-math.inf, math.nan, 2.0], 2):
        training.losses_E = torch.tensor(losses)
        assert training.best() == best
    training.losses_E = torch.full((3,), math.nan)
    with pytest.raises(DataError, match=r"No head has a finite loss; lower learning_rate \(0.003\)"):
        training.best()


def test_seed_decides_and_nothing_else() -> None:
    features = blobs(90, 1)[0] + np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32)
    torch.manual_seed(0)
    first = MultiHead.create(clusters=5, seed=3, **SMALL)
    first.fit(features)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):  # as a caller may have set
        second = MultiHead.create(clusters=5, seed=3, **SMALL)
        second.fit(features)
    assert torch.equal(torch.get_rng_state(), before)
    other = MultiHead.create(clusters=5, seed=4, **SMALL)
    other.fit(features)
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)
    assert not torch.equal(first.state["first"], other.state["first"])


def test_state_is_enough_and_survives_a_file(tmp_path: Any) -> None:
    from safetensors.torch import load_file, save_file

    features = blobs(80, 1)[0]
    fitted = MultiHead.create(clusters=4, seed=0, **SMALL)
    labels = fitted.fit(features)
    save_file(fitted.state, tmp_path / "state.safetensors")
    fresh = MultiHead.create(clusters=4, seed=9, **SMALL)
    fresh.state = load_file(tmp_path / "state.safetensors")
    np.testing.assert_array_equal(fresh.predict_proba(features), fitted.predict_proba(features))
    np.testing.assert_array_equal(fresh.predict_proba(features).argmax(1), labels)
    assert fresh.predict_proba(features[:0]).shape == (0, 4)


@pytest.mark.parametrize("normalize", [True, False])
def test_scale_and_place_do_not_matter(normalize: bool) -> None:
    features = blobs(80, 1)[0].astype(np.float64)
    settings = SMALL | {"normalize": normalize}
    expected = MultiHead.create(clusters=4, seed=0, **settings).fit(features)
    moved = features * 2.0**40 if normalize else features * 2.0**40 + 2.0**42
    np.testing.assert_array_equal(MultiHead.create(clusters=4, seed=0, **settings).fit(moved), expected)


@pytest.mark.parametrize(
    "features",
    [np.eye(5), np.eye(5)[[0, 1] * 20], np.ones((30, 3)), np.zeros((5, 2)), np.arange(12.0).reshape(12, 1)],
    ids=["an image a cluster", "two points", "one point", "zeros", "one column"],
)
@pytest.mark.parametrize("normalize", [True, False])
def test_awkward_features(features: np.ndarray, normalize: bool) -> None:
    clusterer = MultiHead.create(clusters=5, seed=0, **SMALL | {"normalize": normalize})
    labels = clusterer.fit(features)
    shares = clusterer.predict_proba(features)
    assert np.isfinite(shares).all()
    assert set(labels.tolist()) <= set(range(5))
    for value in np.unique(features, axis=0):  # equal images share a cluster
        assert len(set(labels[(features == value).all(1)].tolist())) == 1


@pytest.mark.parametrize("images", [1, 3])
def test_one_cluster(images: int) -> None:
    assert MultiHead.create(clusters=1, seed=0, **SMALL).fit(np.eye(images, 3)).tolist() == [0] * images


def test_settings_at_their_least() -> None:
    least = {
        "heads": 1,
        "hidden": 1,
        "width": 1,
        "neighbors": 1,
        "smoothing": 0,
        "steps": 1,
        "batch_size": 1,
        "start": 0.9,
    }
    assert MultiHead.create(clusters=2, seed=0, **least).fit(np.eye(3)).shape == (3,)


def test_what_cannot_be_clustered() -> None:
    clusterer = MultiHead.create(clusters=3, seed=0, **SMALL)
    with pytest.raises(DataError, match="2 images can't be split into 3 clusters"):
        clusterer.fit(np.ones((2, 6)))
    with pytest.raises(DataError, match="1 of 4 images hold NaN"):
        clusterer.fit(np.array([[0.0], [1.0], [np.nan], [2.0]]))


def test_tells_its_steps(capsys) -> None:
    with shown():
        MultiHead.create(clusters=2, seed=0, steps=7).fit(np.random.default_rng(0).normal(size=(20, 3)))
    assert "Heads: 7 in" in capsys.readouterr().err


def test_keeps_the_contract() -> None:
    assert issubclass(MultiHead, Clusterer)
    assert issubclass(MultiHead, Component)
    check_component(MultiHead, SMALL)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda() -> None:
    features, labels = blobs(200, 1)
    found = MultiHead.create(clusters=4, seed=0, **SMALL | {"device": "cuda"})
    assert accuracy(labels, found.fit(features)) == 1.0
    assert all(value.device.type == "cpu" for value in found.state.values())
