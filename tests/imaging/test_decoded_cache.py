"""The decoded cache: what it gives is what was written, whatever happened in between."""

import errno
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from imcswav.imaging import decoded_cache
from imcswav.imaging.decoded_cache import DecodedCache

COUNT, SHAPE = 40, (3, 8, 8)
WRITER = """
import sys, warnings
import numpy as np
from imcswav.imaging.decoded_cache import DecodedCache

warnings.simplefilter("error")
cache = DecodedCache.open("place", "key", 40, (3, 8, 8))
assert "torch" not in sys.modules
print("ready", flush=True)
while True:
    for row in np.random.default_rng(int(sys.argv[1])).permutation(40):
        cache.write(int(row), np.full((3, 8, 8), row, np.uint8))
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(key: str = "key") -> DecodedCache:
    cache = DecodedCache.open("place", key, COUNT, SHAPE)
    assert cache is not None
    return cache


def pixels(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, SHAPE, dtype=np.uint8)


def read(cache: DecodedCache, row: int) -> np.ndarray | None:
    out = np.full(SHAPE, 77, np.uint8)
    return out if cache.read(row, out) else None


def test_rows_come_back_now_and_in_a_later_run() -> None:
    cache = opened()
    assert all(read(cache, row) is None for row in range(COUNT))
    for row in (3, 39, 0):
        cache.write(row, pixels(row))
    for reader in (cache, opened()):
        assert np.flatnonzero(reader.known()).tolist() == [0, 3, 39]
        for row in range(COUNT):
            found = read(reader, row)
            assert (found is not None) == (row in (0, 3, 39))
            assert found is None or np.array_equal(found, pixels(row))


def test_all_black_rows_count_as_written() -> None:
    opened().write(5, np.zeros(SHAPE, np.uint8))
    assert np.array_equal(read(opened(), 5), np.zeros(SHAPE))


def test_what_another_process_writes_is_seen() -> None:
    late, early = opened(), opened()
    late.write(7, pixels(7))
    assert np.array_equal(read(early, 7), pixels(7))


def test_files_never_grow(root: Path) -> None:
    for _ in range(2):
        cache = opened()
        for row in range(COUNT):
            cache.write(row, pixels(row))
    sizes = {path.name: path.stat().st_size for path in (root / "place").iterdir()}
    assert sizes == {"key.pixels": COUNT * 192, "key.checks": COUNT * 4}


def test_other_keys_of_the_same_place_are_removed(root: Path) -> None:
    old = opened("old")
    old.write(1, pixels(1))
    opened("new")
    assert sorted(path.name for path in (root / "place").iterdir()) == ["new.checks", "new.pixels"]
    assert DecodedCache.open("other", "old", COUNT, SHAPE) is not None
    assert sorted(path.name for path in root.iterdir()) == ["other", "place"]


@pytest.mark.parametrize("part", ["pixels", "checks"])
def test_damage_is_found_and_the_row_can_be_written_again(root: Path, part: str) -> None:
    cache = opened()
    for row in range(COUNT):
        cache.write(row, pixels(row))
    file = root / "place" / f"key.{part}"
    content, width = bytearray(file.read_bytes()), {"pixels": 192, "checks": 4}[part]
    content[9 * width + 2] ^= 16
    file.write_bytes(content)
    again = opened()
    assert [row for row in range(COUNT) if read(again, row) is None] == [9]
    again.write(9, pixels(9))
    assert np.array_equal(read(opened(), 9), pixels(9))


def test_a_check_whose_pixels_never_came_to_the_disk_is_not_believed(root: Path) -> None:
    opened().write(4, pixels(4))
    (root / "place" / "key.pixels").write_bytes(b"")
    assert read(opened(), 4) is None


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_two_writers_killed_at_once_leave_only_whole_rows() -> None:
    command = [sys.executable, "-c", WRITER]
    writers = [subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, text=True) for seed in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    cache = opened()
    while not cache.known().any():
        assert all(writer.poll() is None for writer in writers)
        [read(cache, row) for row in range(COUNT)]
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    found = {row: read(opened(), row) for row in range(COUNT)}
    assert any(image is not None for image in found.values())
    assert all(image is None or (image == row).all() for row, image in found.items())


def test_threads_share_it() -> None:
    cache = opened()
    wrong: list[int] = []

    def work(seed: int) -> None:
        for row in np.random.default_rng(seed).integers(0, COUNT, 300).tolist():
            found = read(cache, row)
            if found is None:
                cache.write(row, pixels(row))
            elif not np.array_equal(found, pixels(row)):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.known().all()


def test_a_full_disk_stops_writing_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = opened()
    cache.write(1, pixels(1))

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(decoded_cache, "_write", full)
    with pytest.warns(UserWarning, match=r"No space left on device.*IMCSWAV_CACHE"):
        cache.write(2, pixels(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.write(3, pixels(3))
    assert np.array_equal(read(cache, 1), pixels(1))
    assert read(cache, 2) is None


def test_a_short_write_is_an_error(tmp_path: Path) -> None:
    class Short:
        def seek(self, offset: int) -> None: ...

        def write(self, values: memoryview) -> int:
            return len(values) - 1

    with pytest.raises(OSError, match="No space"):
        decoded_cache._write(Short(), 0, pixels(0))  # type: ignore[arg-type]


def test_without_room_for_all_rows_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": decoded_cache.KEPT_FREE + COUNT * 192 - 1})
    monkeypatch.setattr(decoded_cache.shutil, "disk_usage", lambda folder: usage)
    with pytest.warns(UserWarning, match="are free"):
        assert DecodedCache.open("place", "key", COUNT, SHAPE) is None
    usage.free += 1
    assert opened().writable


def test_without_a_folder_there_is_no_cache(root: Path) -> None:
    root.write_text("in the way")
    with pytest.warns(UserWarning, match="Decoded images can't be kept in"):
        assert DecodedCache.open("place", "key", COUNT, SHAPE) is None


def test_root_is_in_the_home_unless_named(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    assert decoded_cache.cache_root() == root
    monkeypatch.delenv("IMCSWAV_CACHE")
    assert decoded_cache.cache_root() == Path.home() / ".cache" / "imcswav"
