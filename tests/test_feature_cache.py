import sqlite3

import numpy as np
import pytest
from tiny import images

from imcswav.feature_cache import FeatureCache, kept, pixel_keys


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path))
    return tmp_path


def counting(seen):
    def compute(images_BCHW):
        seen.append(len(images_BCHW))
        return images_BCHW.reshape(len(images_BCHW), -1)[:, :3].astype(np.float32)

    return compute


def test_only_images_that_were_never_seen_are_computed():
    batch, seen = images(6).numpy(), []
    with kept("network") as features:
        first = features(batch[:4], counting(seen))
    with kept("network") as features:
        again = features(batch[::-1], counting(seen))
    assert seen == [4, 2]
    np.testing.assert_array_equal(again[::-1][:4], first)
    np.testing.assert_array_equal(again, counting([])(batch[::-1]))


def test_another_network_has_a_cache_of_its_own():
    seen = []
    for network in ("one", "other"):
        with kept(network) as features:
            features(images(2).numpy(), counting(seen))
    assert seen == [2, 2]


def test_an_image_twice_in_a_batch_is_no_trouble():
    twice = images(2).numpy()[[0, 1, 0]]
    with kept("network") as features:
        np.testing.assert_array_equal(features(twice, counting([])), counting([])(twice))


def test_what_was_computed_before_an_interruption_stays():
    batch, seen = images(4).numpy(), []

    def interrupted():
        with kept("network") as features:
            features(batch[:2], counting(seen))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with kept("network") as features:
        features(batch, counting(seen))
    assert seen == [2, 2]


def test_keys_tell_shapes_apart():
    flat = np.zeros((1, 1, 4, 9), np.uint8)
    assert pixel_keys(flat) != pixel_keys(flat.reshape(1, 1, 6, 6))


def test_a_folder_that_cant_be_written_costs_a_warning_and_no_more(cache_folder):
    (cache_folder / "features").write_text("a file where the folder should be")
    seen = []
    with pytest.warns(UserWarning, match="can't be kept"), kept("network") as features:
        features(images(2).numpy(), counting(seen))
    assert seen == [2]


def test_a_file_that_is_no_database_costs_a_warning_and_no_more(cache_folder):
    FeatureCache.open("network").close()
    (path,) = (cache_folder / "features").iterdir()
    path.write_bytes(b"rubbish" * 1000)
    with pytest.warns(UserWarning, match="can't be kept"):
        assert FeatureCache.open("network") is None


def test_more_keys_than_one_question_takes():
    keys = [bytes([number // 256, number % 256]) for number in range(1200)]
    cache = FeatureCache.open("network")
    cache.put(keys, np.arange(2400, dtype=np.float32).reshape(1200, 2))
    found = cache.get([*keys, b"unknown"])
    assert found[-1] is None
    np.testing.assert_array_equal(np.stack(found[:-1]), np.arange(2400).reshape(1200, 2))


def test_two_processes_may_share_a_file():
    one, other = FeatureCache.open("network"), FeatureCache.open("network")
    one.put([b"a"], np.ones((1, 2), np.float32))
    other.put([b"a"], np.ones((1, 2), np.float32))
    assert other.get([b"a"])[0].tolist() == [1, 1]
    with sqlite3.connect(one.path) as database:
        assert database.execute("SELECT count(*) FROM features").fetchone() == (1,)
