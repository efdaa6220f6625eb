"""Duplicates among many against a plain comparison of each with each."""

import numpy as np
import pytest

from imcswav.quality.duplicates import correlation, leaders


def plain_leaders(hashes, small, distance, likeness):
    kept, leader = [], {}
    for row in range(len(hashes)):
        for first in kept:
            apart = bin(hashes[first] ^ hashes[row]).count("1")
            if apart <= distance and np.corrcoef(small[first], small[row])[0, 1] >= likeness:
                leader[row] = first
                break
        else:
            kept.append(row)
    return leader


@pytest.mark.parametrize("distance", [0, 3, 6, 7])
def test_equal_to_a_comparison_of_each_with_each(distance):
    random = np.random.default_rng(distance)
    hashes = random.integers(0, 2**64, 60, dtype=np.uint64).tolist()
    small = random.integers(0, 256, (60, 48), dtype=np.uint8)
    rows = random.integers(0, 60, 600)
    flipped = [
        hashes[row] ^ sum(1 << int(bit) for bit in random.permutation(64)[: random.integers(0, 10)]) for row in rows
    ]
    noisy = (
        (small[rows] + random.normal(0, random.choice([1, 8, 20], (600, 1)), (600, 48))).clip(0, 255).astype(np.uint8)
    )
    hashes, small = [*hashes, *flipped], np.concatenate([small, noisy])
    found = leaders(hashes, small, distance, 0.99)
    assert found == plain_leaders(hashes, small, distance, 0.99)
    assert found


def test_a_chain_does_not_make_its_ends_alike():
    small = np.tile(np.arange(48, dtype=np.uint8), (4, 1))
    hashes = [0, 0b11111, 0b1111111111, 0b111]
    assert leaders(hashes, small, 5, 0.99) == {1: 0, 3: 0}  # row 2 is like row 1, but not like row 0


def test_one_scene_many_times_compares_with_what_is_kept_only(monkeypatch):
    calls = []
    monkeypatch.setattr("imcswav.quality.duplicates.correlation", lambda *_: calls.append(1) or 1.0)
    assert len(leaders([5] * 2000, np.ones((2000, 3), np.uint8), 6, 0.99)) == 1999
    assert len(calls) == 1999


def test_correlation():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 256, (2, 300), dtype=np.uint8)
    assert correlation(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert correlation(one, (one // 2 + 9).astype(np.uint8)) > 0.999
    assert correlation(one, np.full(300, 7, np.uint8)) == 0


def test_nothing_and_too_far():
    assert leaders([], np.empty((0, 0)), 6, 0.99) == {}
    with pytest.raises(ValueError, match=r"distance is 8, it has to be 0 … 7"):
        leaders([1], np.ones((1, 3)), 8, 0.99)
