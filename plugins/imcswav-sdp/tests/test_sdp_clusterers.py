"""The clusterers keep imcswav's contract, fit on a subsample and place the rest; the recipe has no problems."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from imcswav_sdp.clusterers import ILASDPClusterer, SDPKMeansClusterer
from plain_sdp import blobs

from imcswav.check import check_recipe
from imcswav.errors import DataError, ImcswavError
from imcswav.metrics.acc import accuracy
from imcswav.plugins import registry
from imcswav.recipe.files import load_recipe
from imcswav.testing import check_component

# far apart clusters are found long before the gap is closed
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
every = pytest.mark.parametrize("cls", [SDPKMeansClusterer, ILASDPClusterer])


@every
def test_it_keeps_the_contract(cls):
    check_component(cls)


@every
def test_recipes_find_it(cls):
    assert registry().get("clusterer", cls.name) is cls


def test_the_recipe_has_no_problems():
    recipe = load_recipe(Path(__file__).parent.parent / "recipes" / "digits_sdp.toml")
    assert check_recipe(recipe) == []


@every
def test_a_subsample_is_fitted_and_all_are_placed(cls, monkeypatch):
    seen = []
    fit = cls._estimator

    def watched(self, **settings):
        estimator = fit(self, **settings)
        whole = estimator.fit
        estimator.fit = lambda X: seen.append(X.shape) or whole(X)
        return estimator

    monkeypatch.setattr(cls, "_estimator", watched)
    points, labels = blobs(400, 4)
    features = np.concatenate([points, np.random.default_rng(0).normal(size=(400, 6)) * 0.01], 1).astype(np.float32)
    clusterer = cls.create(clusters=4, seed=2**40, subsample=48, components=2)
    assert accuracy(labels, clusterer.fit(features)) == 1.0
    assert seen == [(48, 2)]
    assert clusterer.state["axes"].shape == (2, 8)


@every
def test_components_are_at_most_what_there_is(cls):
    points, labels = blobs(30, 3)
    for components in (None, 50):
        clusterer = cls.create(clusters=3, seed=0, components=components)
        assert accuracy(labels, clusterer.fit(points)) == 1.0
        np.testing.assert_array_equal(clusterer.predict_proba(points).argmax(1), clusterer.fit(points))
        assert all(isinstance(value, torch.Tensor) for value in clusterer.state.values())


@every
def test_mistakes_are_told(cls):
    points, _ = blobs(30, 3)
    with pytest.raises(DataError, match="subsample of 2 images has fewer than 3 clusters"):
        cls.create(clusters=3, seed=0, subsample=2).fit(points)
    with pytest.raises(DataError, match="2 images can't be split into 3 clusters"):
        cls.create(clusters=3, seed=0).fit(points[:2])
    points[4] = np.nan
    with pytest.raises(DataError, match="1 of 30 images hold NaN"):
        cls.create(clusters=3, seed=0).fit(points)


@every
def test_a_solver_that_is_not_installed_is_a_sentence(cls, monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(ImcswavError, match=r"solver 'scs' needs cvxpy and scs; install imcswav-sdp\[scs\]"):
        cls.create(clusters=3, seed=0, solver="scs").fit(blobs(30, 3)[0])
