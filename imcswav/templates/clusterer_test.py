import numpy as np
from imcswav_mine import Mine

from imcswav.plugins import registry
from imcswav.testing import check_component


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("clusterer", "mine") is Mine


def test_blobs_far_apart_are_found() -> None:
    centres_KF = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    features_NF = np.repeat(centres_KF, 20, 0) + np.random.default_rng(0).normal(size=(60, 2))
    clusterer = Mine.create(clusters=3, seed=0)
    labels_N = clusterer.fit(features_NF)
    assert [len(set(labels_N[start : start + 20])) for start in (0, 20, 40)] == [1, 1, 1]
    assert len(set(labels_N)) == 3
    assert (clusterer.predict_proba(features_NF).argmax(1) == labels_N).all()
