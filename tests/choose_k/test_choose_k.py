"""The choice as a whole, on collections small enough for seconds."""

import dataclasses

import numpy as np
import pytest
from planted_mixture import blob, planted

from imcswav.errors import DataError
from imcswav.k_choice import choose_k
from imcswav.k_choice.sentence import near, sentence


@pytest.mark.parametrize("groups", [3, 7])
def test_planted_groups_are_found(groups):
    choice = choose_k(planted(groups, 0, images=600, gap=6.0)[0], 2, 15)
    assert choice.clear
    assert abs(choice.k - groups) <= 1
    assert choice.spread[0] <= choice.k <= choice.spread[1]
    assert choice.sentence.startswith(f"K = {choice.k}")


def test_order_and_scale_of_features_and_far_away_centres_change_nothing_that_matters():
    x = planted(3, 1, images=400, gap=6.0)[0]
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(x.shape[1],) * 2))[0]
    for other in (x @ turned, x * 1e30, x * 1e-30, x + 100):
        assert choose_k(other, 2, 8).k == choose_k(x, 2, 8).k


def test_the_same_seed_gives_the_same_choice():
    x = planted(3, 2, images=200)[0]
    one, other, another = (choose_k(x, 2, 8, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(one.score_C, other.score_C)
    assert one.sentence == other.sentence
    for name, curve in one.curves.items():
        for field in dataclasses.fields(curve):
            assert np.array_equal(getattr(curve, field.name), getattr(other.curves[name], field.name))
    assert not np.array_equal(one.score_C, another.score_C)


@pytest.mark.parametrize("width", [4, 24])
def test_a_single_group_has_no_clear_k(width):
    choice = choose_k(blob(width, 0, images=600), 2, 15)
    assert not choice.clear
    assert choice.sentence.startswith("There is no clear K")
    assert "agree" not in choice.sentence


def test_fewer_images_than_clusters_asked_for():
    choice = choose_k(planted(3, 3, images=60, gap=8.0)[0])
    assert choice.counts == (2, 3, 4, 5, 6)  # 5 images in a half for each
    assert "Only up to 6 clusters" in choice.sentence
    with pytest.raises(DataError, match=r"^15 images are too few to look for 2 clusters or more; give 20 or more"):
        choose_k(np.random.default_rng(0).normal(size=(15, 3)))
    with pytest.raises(DataError, match=r"^More than 200 clusters can't be looked for, in halves of 1000 images"):
        choose_k(np.random.default_rng(0).normal(size=(3000, 3)), 250, 300)
    with pytest.raises(DataError, match=r"^Only 4 of the 120 images have features of their own, too few to look for 5"):
        choose_k(np.repeat(np.eye(4) * 5, 30, axis=0), 5, 9)


def test_images_that_repeat_bound_the_range():
    choice = choose_k(np.repeat(np.eye(4) * 5, 30, axis=0))
    assert choice.counts == (2, 3, 4)
    assert choice.k == 4


def test_more_features_than_images():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 300)) + 3 * rng.normal(size=(3, 300))[np.arange(60) % 3]
    assert choose_k(x).k == 3


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((100, 5)), "All 100 images have the same features"),
        (np.full((100, 5), np.nan), "100 of 100 images hold NaN"),
        (np.where(np.arange(100)[:, None] == 7, np.inf, np.zeros((100, 5))), "1 of 100 images"),
        (np.zeros(100), "must be a table"),
        (np.full((100, 5), "a"), "must be numbers, not of type <U1"),
        (np.zeros((100, 0)), "must be a table"),
        (np.zeros((0, 4)), "too few|same features"),
    ],
)
def test_what_has_no_clusters_is_refused(features, message):
    with pytest.raises(DataError, match=message):
        choose_k(features)


@pytest.mark.parametrize("wanted", [(1, 5), (6, 5)])
def test_ranges(wanted):
    with pytest.raises(DataError, match="two numbers from 2 on"):
        choose_k(np.zeros((100, 4)), *wanted)


def test_near_is_one_or_ten_percent():
    assert [k for k in range(30) if near(k, 7)] == [6, 7, 8]
    assert [k for k in range(30) if near(k, 20)] == [18, 19, 20, 21, 22]


def test_disagreement_is_said():
    def said(**votes):
        return sentence(10, (9, 12), True, votes, range(2, 51), 50, 200)

    assert said(a=(10, True), b=(11, True)) == "K = 10, spread 9–12. All 2 signals agree."
    assert "2 of 3 signals agree; c says 4." in said(a=(10, True), b=(9, True), c=(4, True))
    assert "The signals disagree, so look at several K: b says 3, c says 4." in said(
        a=(10, True), b=(3, True), c=(4, True)
    )
    assert "Without a clear say: b." in said(a=(10, True), b=(3, False))


def test_an_end_of_the_range_is_said_where_a_wider_one_helps():
    def said(k, counts, asked):
        return sentence(k, (k, k), True, {"a": (k, True)}, counts, asked, 200)

    assert "50 is an end of the range; look at a wider one." in said(50, range(2, 51), 50)
    assert "5 is an end of the range" in said(5, range(5, 51), 50)
    assert "end of the range" not in said(2, range(2, 51), 50)
    few = said(8, range(2, 9), 50)  # there are too few images for a wider one
    assert few.endswith("Only up to 8 clusters were looked at: there are too few different images for more.")
    most = said(8, range(2, 201), 300)
    assert most.endswith("Only up to 200 clusters were looked at: no more are ever looked for.")
    assert "end of the range" in sentence(50, (50, 50), True, {"a": (50, True)}, range(2, 51), 50, 200)
