import numpy as np
import pytest
from imcswav_fewshot import SLK

from imcswav.clusterers import Known
from imcswav.errors import DataError
from imcswav.plugins import registry
from imcswav.testing import check_component


def blobs(count=60, seed=0, spread=0.3):
    labels = np.arange(count) % 3
    return np.eye(3, 5)[labels] * 2 + np.random.default_rng(seed).normal(size=(count, 5)) * spread, labels


def same_partition(first, second):
    return len(set(zip(first.tolist(), second.tolist(), strict=True))) == len(set(second.tolist()))


@pytest.mark.parametrize("settings", [{}, {"prototypes": "mode"}, {"clamp": True, "center": False, "shift": False}])
def test_it_keeps_the_contract(settings):
    check_component(SLK, settings)


def test_recipes_find_it():
    assert registry().get("clusterer", "slk") is SLK


@pytest.mark.parametrize("prototypes", ["mean", "mode"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_blobs_are_found_without_a_label(prototypes, dtype):
    x, labels = blobs()
    clusterer = SLK.create(clusters=3, seed=2**40, prototypes=prototypes)
    found = clusterer.fit(x.astype(dtype))
    assert found.dtype == np.int64
    assert same_partition(found, labels)
    new, new_labels = blobs(30, 1)
    both = np.concatenate([found, clusterer.predict_proba(new).argmax(1)])
    assert same_partition(both, np.concatenate([labels, new_labels]))


def test_known_labels_number_the_clusters_and_stay():
    x, _ = blobs(spread=0.9)
    known = Known(np.array([3, 1, 2, 0]), np.array([2, 0, 1, 1]))  # images 0 and 3 are of one class
    found = SLK.create(clusters=3, seed=0).fit(x, known)
    assert found[known.index].tolist() == [2, 0, 1, 1]
    free = SLK.create(clusters=3, seed=0, clamp=False).fit(x, known)
    assert free[0] == free[3]


def test_clusters_without_a_known_image_are_found_too():
    x, labels = blobs()
    found = SLK.create(clusters=3, seed=0).fit(x, Known(np.array([1]), np.array([2])))
    assert same_partition(found, labels)
    assert found[1] == 2


def test_an_image_seen_again_gets_what_fit_found():
    x, _ = blobs(spread=1.2)
    known = Known(np.arange(3), np.arange(3))
    for settings in ({}, {"prototypes": "mode"}, {"shift": True}):
        clusterer = SLK.create(clusters=3, seed=0, **settings)
        found = clusterer.fit(x, known)
        again = clusterer.predict_proba(x)
        assert (again.argmax(1)[3:] == found[3:]).all()
        np.testing.assert_allclose(again[3:], clusterer.state["shares"][3:], atol=5e-3)  # one update further
        nearest = SLK.create(clusters=3, seed=0, **settings, laplacian=0)
        nearest.state = clusterer.state
        assert np.abs(nearest.predict_proba(x) - again).max() > 0.05


def test_the_best_of_the_starts_is_kept():
    x, _ = blobs(90, spread=1.5)
    settings = {"center": False, "normalize": False, "laplacian": 0}

    def inertia(clusterer):
        labels = clusterer.fit(x)
        return sum(((x[labels == k] - x[labels == k].mean(0)) ** 2).sum() for k in range(4))

    single = [inertia(SLK.create(clusters=4, seed=seed, n_init=1, **settings)) for seed in range(10)]
    assert inertia(SLK.create(clusters=4, seed=0, n_init=10, **settings)) == pytest.approx(min(single))
    assert max(single) > min(single) + 0.1


def test_rows_that_are_all_the_same():
    labels = SLK.create(clusters=2, seed=0, prototypes="mode").fit(np.ones((5, 2)))
    assert set(labels.tolist()) <= {0, 1}


@pytest.mark.parametrize(
    ("index", "label", "words"),
    [
        ([0, 60], [0, 1], "images are numbered 0 to 59, not 0 to 60"),
        ([0, 1], [0, 3], "labels are numbered 0 to 2, not 0 to 3"),
        ([0, 1], [-1, 1], "labels are numbered"),
        ([4, 4], [0, 1], "two known labels"),
        ([0, 1], [0], "one length"),
        ([0.0, 1.0], [0, 1], "whole numbers"),
    ],
)
def test_known_labels_that_do_not_fit(index, label, words):
    with pytest.raises(DataError, match=words):
        SLK.create(clusters=3, seed=0).fit(blobs()[0], Known(np.array(index), np.array(label)))


def test_features_that_can_not_be_clustered():
    with pytest.raises(DataError, match="hold NaN"):
        SLK.create(clusters=3, seed=0).fit(np.full((9, 2), np.nan))
    with pytest.raises(DataError, match="can't be split"):
        SLK.create(clusters=3, seed=0).fit(np.ones((2, 2)))


@pytest.mark.parametrize("seed", range(10))
def test_a_start_draws_rows_far_from_those_it_has(seed):
    x = np.repeat([[0.0, 0.0], [0.0, 5.0], [5.0, 0.0]], [50, 2, 2], 0)
    settings = {"center": False, "normalize": False, "laplacian": 0, "n_init": 1}
    assert len(set(SLK.create(clusters=3, seed=seed, **settings).fit(x).tolist())) == 3
