"""Clusterers in torch, in float32, beside predict_proba in float64."""

import warnings

import numpy as np
import pytest
import torch
from test_clusterers import CASES, blobs

from imcswav.clusterers.gaussian_mixture import GaussianMixture
from imcswav.clusterers.spectral import Spectral

IN_TORCH = [case for case in CASES if case[0] is not Spectral]


@pytest.mark.parametrize(("cls", "settings"), IN_TORCH)
@pytest.mark.parametrize("offset", [0.0, 300.0])  # float32 would lose the clusters in the squares of 300
def test_a_module_gives_the_clusterers_probabilities(cls, settings, offset):
    clusterer = cls.create(clusters=3, seed=0, **settings)
    shift = np.float32(0 if clusterer.config.model_dump().get("normalize", True) else offset)
    clusterer.fit(blobs(90, 1, spread=0.8)[0] + shift)
    module = clusterer.module()
    for count in (1, 60):
        new = blobs(count, 2, spread=0.8)[0] + shift
        expected = clusterer.predict_proba(new)
        found = module(torch.from_numpy(new))
        assert (found.dtype, found.shape) == (torch.float32, (count, 3))
        np.testing.assert_allclose(found.numpy(), expected, atol=3e-4)
        np.testing.assert_array_equal(found.numpy().argmax(1), expected.argmax(1))


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_a_mixture_of_as_many_clusters_as_features(covariance):
    features = blobs(90, 1, spread=0.8)[0][:, :3].copy()
    clusterer = GaussianMixture.create(clusters=3, seed=0, covariance=covariance, regularization=1e-3)
    clusterer.fit(features)
    found = clusterer.module()(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(found, clusterer.predict_proba(features), atol=1e-5)


def test_features_of_zeros_and_state_of_its_own():
    for cls, settings in IN_TORCH:
        clusterer = cls.create(clusters=3, seed=0, **settings)
        clusterer.fit(blobs(60, 1, spread=0.8)[0])
        module, zeros = clusterer.module(), np.zeros((2, 6), np.float32)
        expected = clusterer.predict_proba(zeros)
        for value in clusterer.state.values():
            value.fill_(1)
        np.testing.assert_allclose(module(torch.from_numpy(zeros)).numpy(), expected, atol=1e-5)


def test_what_has_no_form_in_torch_says_so():
    clusterer = Spectral.create(clusters=3, seed=0)
    clusterer.fit(blobs(60, 1)[0])
    assert clusterer.module() is None


@pytest.mark.parametrize("features", [np.zeros((12, 6), np.float32), np.full((12, 6), 0.25, np.float32)])
def test_features_that_are_all_alike(features):
    for cls, settings in IN_TORCH:
        clusterer = cls.create(clusters=3, seed=0, **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are fewer kinds of rows than clusters
            clusterer.fit(features)
        found = clusterer.module()(torch.from_numpy(features)).numpy()
        assert np.isfinite(found).all(), cls
