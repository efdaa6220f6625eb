"""Duplicates among many against a plain comparison of each with each."""

from typing import ClassVar

import numpy as np
import pytest

from imcswav.quality import duplicates
from imcswav.quality.duplicates import leaders


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


class Counted(np.ndarray):
    """Rows that count how many of them are looked at, each time."""

    looks: ClassVar[list[int]] = []

    def __getitem__(self, place):
        if isinstance(place, np.ndarray):
            self.looks.append(len(place))
        return np.asarray(self)[place]


@pytest.fixture
def looks(monkeypatch):
    plain = duplicates._standardized
    monkeypatch.setattr(duplicates, "_standardized", lambda small_NX: plain(small_NX).view(Counted))
    monkeypatch.setattr(Counted, "looks", [])
    monkeypatch.setattr(duplicates, "BLOCK", 100)
    monkeypatch.setattr(duplicates, "PIECE", 70)
    return Counted


def test_one_scene_many_times_compares_with_what_is_kept_only(looks):
    done = []
    scenes = np.tile(np.arange(3, dtype=np.uint8), (2000, 1))
    assert len(leaders([5] * 2000, scenes, 6, 0.99, lambda count=1: done.append(count))) == 1999
    # kept rows and the block itself, each against the block; none is kept before the first
    assert looks.looks == [100, 100] + [1, 100, 100, 100] * 19
    assert done == [100] * 20


def test_a_fixed_camera_s_pictures_are_compared_with_all_before_by_few_products(looks):
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (300, 48), dtype=np.uint8)
    assert leaders([5] * 300, small, 6, 0.99) == {}
    assert looks.looks == [100, 100, 70, 100, 30, 100, 100, 100, 70, 100, 70, 100, 60, 100, 100, 100]


def test_blocks_and_pieces_make_no_difference(looks):
    random = np.random.default_rng(1)
    small = random.integers(0, 256, (40, 48))[random.integers(0, 40, 500)] + random.integers(-9, 10, (500, 48))
    small = small.clip(0, 255).astype(np.uint8)
    hashes = [int(random.integers(0, 1 << 9)) for _ in range(500)]
    found = leaders(hashes, small, 6, 0.99)
    assert found == plain_leaders(hashes, small, 6, 0.99)
    assert 100 < len(found) < 460


def test_correlation():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 256, (2, 300), dtype=np.uint8)
    rows = np.stack([one, other, (one // 2 + 9).astype(np.uint8), np.full(300, 7, np.uint8)])
    unit = duplicates._standardized(rows)
    assert unit[0] @ unit[1] == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-6)
    assert unit[0] @ unit[2] > 0.999
    assert unit[0] @ unit[3] == 0


def test_nothing_and_too_far():
    assert leaders([], np.empty((0, 0)), 6, 0.99) == {}
    with pytest.raises(ValueError, match=r"distance is 8, it has to be 0 … 7"):
        leaders([1], np.ones((1, 3)), 8, 0.99)
