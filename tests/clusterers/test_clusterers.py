"""Every clusterer: finds plain clusters, is saved as tensors, and says what is wrong."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from imcswav.clusterers import Clusterer, Known
from imcswav.clusterers.gaussian_mixture import GaussianMixture
from imcswav.clusterers.kmeans import KMeans
from imcswav.clusterers.multi_head import MultiHead
from imcswav.clusterers.spectral import Spectral
from imcswav.clusterers.spherical_kmeans import SphericalKMeans
from imcswav.errors import DataError
from imcswav.metrics.acc import accuracy

CASES: list[tuple[type[Clusterer], dict[str, Any]]] = [
    (KMeans, {}),
    (KMeans, {"normalize": False}),
    (SphericalKMeans, {}),
    (MultiHead, {"heads": 4, "hidden": 32, "width": 16, "steps": 200}),
    (Spectral, {}),
    (Spectral, {"normalize": False}),
    (GaussianMixture, {}),
    (GaussianMixture, {"normalize": True}),
    (GaussianMixture, {"covariance": "full", "regularization": 1e-3}),
    (GaussianMixture, {"covariance": "tied"}),
    (GaussianMixture, {"covariance": "spherical", "n_init": 2}),
]
every = pytest.mark.parametrize(("cls", "settings"), CASES)


def blobs(count: int, seed: int, spread: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    means = np.eye(3, 6) * 2
    return (means[labels] + rng.normal(size=(count, 6)) * spread).astype(np.float32), labels


@every
def test_finds_clusters_and_places_new_images(cls: type[Clusterer], settings: dict[str, Any]) -> None:
    clusterer = cls.create(clusters=3, seed=2**40, **settings)  # a seed beyond 32 bits
    features, labels = blobs(90, 1)
    found = clusterer.fit(features)
    assert found.shape == (90,)
    assert found.dtype == np.int64
    assert accuracy(labels, found) == 1.0
    new, new_labels = blobs(30, 2)
    shares = clusterer.predict_proba(new)
    assert shares.shape == (30, 3)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert accuracy(np.concatenate([labels, new_labels]), np.concatenate([found, shares.argmax(1)])) == 1.0


@every
def test_state_is_enough_to_predict(cls: type[Clusterer], settings: dict[str, Any]) -> None:
    fitted = cls.create(clusters=3, seed=0, **settings)
    fitted.fit(blobs(60, 1, spread=0.8)[0])
    assert all(isinstance(value, torch.Tensor) for value in fitted.state.values())
    fresh = cls.create(clusters=3, seed=1, **settings)
    fresh.state = {key: value.clone() for key, value in fitted.state.items()}
    new = blobs(40, 2, spread=0.8)[0]
    np.testing.assert_array_equal(fresh.predict_proba(new), fitted.predict_proba(new))


@every
def test_same_seed_same_clusters(cls: type[Clusterer], settings: dict[str, Any]) -> None:
    features = blobs(60, 1, spread=1.5)[0]
    first, second = (cls.create(clusters=4, seed=3, **settings).fit(features) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@every
def test_fewer_images_than_clusters(cls: type[Clusterer], settings: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="2 images can't be split into 3 clusters"):
        cls.create(clusters=3, seed=0, **settings).fit(np.ones((2, 6)))


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_no_numbers(cls: type[Clusterer], settings: dict[str, Any], bad: float) -> None:
    clusterer = cls.create(clusters=3, seed=0, **settings)
    features = blobs(60, 1)[0]
    clusterer.fit(features)
    features[5, 2] = features[7, 0] = bad
    for call in (clusterer.fit, clusterer.predict_proba):
        with pytest.raises(DataError, match="2 of 60 images hold NaN"):
            call(features)


def test_features_that_are_no_table() -> None:
    with pytest.raises(DataError, match="shape"):
        KMeans.create(clusters=2, seed=0).fit(np.ones((4, 3, 2)))


@every
def test_half_precision_and_unusual_strides(cls: type[Clusterer], settings: dict[str, Any]) -> None:
    features, labels = blobs(60, 1)
    for given in (features.astype(np.float16), np.asfortranarray(features), features.astype(np.float64)):
        assert accuracy(labels, cls.create(clusters=3, seed=0, **settings).fit(given)) == 1.0


@pytest.mark.parametrize("normalize", [True, False])
def test_kmeans_confidence_by_hand(normalize: bool) -> None:
    features = blobs(60, 1, spread=0.8)[0].astype(np.float64)
    clusterer = KMeans.create(clusters=3, seed=0, normalize=normalize)
    labels = clusterer.fit(features)
    if normalize:
        features = np.stack([row / np.sqrt((row**2).sum()) for row in features])
    centres = [features[labels == k].mean(0) for k in range(3)]
    squares = np.array([[((row - centre) ** 2).sum() for centre in centres] for row in features])
    scale = np.mean([squares[i, k] for i, k in enumerate(labels)])
    expected = np.exp(-squares / scale)
    shares = clusterer.predict_proba(features)
    np.testing.assert_allclose(shares, expected / expected.sum(1, keepdims=True), rtol=1e-4)
    np.testing.assert_array_equal(shares.argmax(1), labels)


def test_kmeans_with_a_cluster_an_image() -> None:
    clusterer = KMeans.create(clusters=3, seed=0)
    labels = clusterer.fit(np.eye(3))
    np.testing.assert_allclose(clusterer.predict_proba(np.eye(3)), np.eye(3)[labels], atol=1e-12)


def test_spectral_follows_shapes_that_kmeans_cuts() -> None:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    features, labels = np.concatenate([ring, 4 * ring]), np.repeat([0, 1], 60)
    settings: dict[str, Any] = {"clusters": 2, "seed": 0, "normalize": False}
    assert accuracy(labels, Spectral.create(**settings, neighbors=5).fit(features)) == 1.0
    assert accuracy(labels, KMeans.create(**settings).fit(features)) < 0.8


def test_spectral_votes_of_the_nearest() -> None:
    clusterer = Spectral.create(clusters=2, seed=0, voters=4, normalize=False)
    known = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]])
    clusterer.state = {"features": torch.from_numpy(known), "labels": torch.tensor([0, 0, 0, 1, 1])}
    assert clusterer.predict_proba(np.array([[1.0], [12.0]])).tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_spectral_with_an_empty_cluster_and_few_images() -> None:
    clusterer = Spectral.create(clusters=3, seed=0, normalize=False)
    clusterer.state = {"features": torch.tensor([[0.0], [1.0]]), "labels": torch.tensor([0, 2])}
    assert clusterer.predict_proba(np.array([[0.4]])).tolist() == [[0.5, 0.0, 0.5]]


def test_spectral_needs_more_images_than_clusters() -> None:
    with pytest.raises(DataError, match="more images than the 3 clusters"):
        Spectral.create(clusters=3, seed=0).fit(np.eye(3))


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_gaussian_posterior_by_hand(covariance: str) -> None:
    features = blobs(90, 1, spread=0.8)[0][:, :3].astype(np.float64)
    clusterer = GaussianMixture.create(clusters=3, seed=0, covariance=covariance, regularization=1e-3)
    labels = clusterer.fit(features)
    state = {key: value.numpy() for key, value in clusterer.state.items()}
    joint = np.zeros((90, 3))
    for k in range(3):
        root = state["precisions_cholesky"] if covariance == "tied" else state["precisions_cholesky"][k]
        root = root if covariance in ("full", "tied") else np.diag(np.broadcast_to(root, 3))
        normal = multivariate_normal(state["means"][k], np.linalg.inv(root @ root.T))
        joint[:, k] = state["weights"][k] * normal.pdf(features)
    shares = clusterer.predict_proba(features)
    np.testing.assert_allclose(shares, joint / joint.sum(1, keepdims=True), rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(shares.argmax(1), labels)


def test_singular_gaussians() -> None:
    with pytest.raises(DataError, match="regularization"):
        GaussianMixture.create(clusters=2, seed=0, covariance="full", regularization=0.0).fit(
            np.repeat(np.eye(2, 5), 4, axis=0)
        )


@pytest.mark.parametrize(
    ("index", "label", "words"),
    [
        ([0, 9], [0, 1], "images are numbered 0 to 8, not 0 to 9"),
        ([0, 1], [-1, 2], "labels are numbered 0 to 2, not -1 to 2"),
        ([4, 4], [0, 1], "two known labels"),
        ([0, 1], [0], "one length"),
        ([0.0, 1.0], [0, 1], "whole numbers"),
    ],
)
def test_known_labels_that_do_not_fit(index: list[int], label: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        KMeans.create(clusters=3, seed=0).checked_known(Known(np.array(index), np.array(label)), 9)


def test_known_labels_that_fit() -> None:
    known = Known(np.array([8, 0], dtype=np.uint8), np.array([2, 0], dtype=np.int32))
    found = KMeans.create(clusters=3, seed=0).checked_known(known, 9)
    assert (found.index.tolist(), found.label.tolist()) == ([8, 0], [2, 0])
    assert found.index.dtype == found.label.dtype == np.int64
