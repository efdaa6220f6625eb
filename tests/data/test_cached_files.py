"""Many files, decoded into memory: a later start reads the decoded cache, and only what is proven there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imcswav.data import _files
from imcswav.data.image_folder import ImageFolder
from imcswav.errors import DataError
from imcswav.imaging import stream

COUNT = 60
needs_change_time = pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of change")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_files, "CACHED_FROM", COUNT)
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    draws = np.random.default_rng(0)
    for index in range(COUNT):
        path = tmp_path / "files" / "train" / "ab"[index % 2] / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (9 + index % 5, 12, 3), dtype=np.uint8)).save(path)
    (tmp_path / "files" / "test").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "files" / "test" / "x.png")
    return tmp_path / "files"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    found: list[Path] = []
    real = stream.try_decode

    def counting(path: Path, **settings: object) -> object:
        found.append(path)
        return real(path, **settings)

    monkeypatch.setattr(stream, "try_decode", counting)
    return found


def touch(path: Path, change: Callable[[], None]) -> None:
    """Change until it shows: a file system's clock may tick every few milliseconds."""
    stamp = path.stat().st_ctime_ns
    change()
    while path.stat().st_ctime_ns == stamp:
        change()


def build(root: Path, **more: object) -> ImageFolder:
    return ImageFolder.create(root=str(root), size=8, **more)


def uncached(root: Path, monkeypatch: pytest.MonkeyPatch) -> ImageFolder:
    with monkeypatch.context() as patch:
        patch.setattr(_files, "CACHED_FROM", COUNT + 1)
        return build(root)


def test_a_later_start_decodes_nothing_and_has_the_same_pixels(
    root: Path, cache: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = uncached(root, monkeypatch)
    assert not cache.exists()
    first = build(root)
    assert len(decoded) == COUNT
    again = build(root)
    assert len(decoded) == COUNT
    for data in (first, again):
        assert isinstance(data.train.images, torch.Tensor)
        assert torch.equal(data.train.images, plain.train.images)
        assert torch.equal(data.train.labels, plain.train.labels)
        assert data.facts == plain.facts
        assert data.digest() == plain.digest()
        assert data.note == f"Decoded images are kept in {cache}, for later starts."
    assert plain.note == ""
    build(root, placement="stream").readable()  # the same cache: only the test split, too small for it, is decoded
    assert len(decoded) == COUNT + 1


def test_all_images_and_those_without_duplicates_have_a_cache_each(root: Path, decoded: list[Path]) -> None:
    shutil.copy(root / "train" / "a" / "000.png", root / "train" / "a" / "copy.png")
    Image.new("RGB", (9, 9), (1, 2, 3)).save(root / "train" / "b" / "more.png")
    counts = {way: len(build(root, duplicates=way).train) for way in ("keep", "drop")}
    assert counts == {"keep": COUNT + 2, "drop": COUNT + 1}
    decoded.clear()
    for way in ("keep", "drop"):
        build(root, duplicates=way)
    assert decoded == []


def test_damaged_rows_and_changed_files_are_decoded_again(root: Path, cache: Path, decoded: list[Path]) -> None:
    first = build(root)
    (pixels,) = cache.rglob("*.pixels")
    content = bytearray(pixels.read_bytes())
    content[5 * 192 + 7] ^= 1
    pixels.write_bytes(content)
    decoded.clear()
    assert torch.equal(build(root).train.images, first.train.images)
    assert len(decoded) == 1
    Image.new("RGB", (9, 9), (1, 2, 3)).save(root / "train" / "a" / "000.png")
    decoded.clear()
    assert build(root).train.images[0, :, 0, 0].tolist() == [1, 2, 3]
    assert len(decoded) == COUNT


@needs_change_time
def test_a_file_put_in_another_s_place_with_its_size_and_time_is_decoded(tmp_path: Path) -> None:
    folder = tmp_path / "same"
    folder.mkdir()
    for index in range(COUNT):
        Image.new("RGB", (9, 9), (index, 0, 0)).save(folder / f"{index:02d}.bmp")  # all of one size
    first = build(folder)
    path, replacement = folder / "07.bmp", tmp_path / "new.bmp"
    Image.new("RGB", (9, 9), (200, 0, 0)).save(replacement)
    before = path.stat()
    replacement.replace(path)
    touch(path, lambda: os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns)))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    again = build(folder)
    assert first.train.images[7, 0, 0, 0] == 7
    assert again.train.images[7, 0, 0, 0] == 200
    assert again.train.images[8, 0, 0, 0] == 8


@needs_change_time
def test_other_permissions_are_no_other_data_set(root: Path, cache: Path) -> None:
    """A streamed run may be resumed after a chmod: only the cache is made anew."""
    before = build(root, placement="stream")
    old = set(cache.glob("train-*/*.pixels"))
    path = root / "train" / "a" / "000.png"
    touch(path, lambda: path.chmod(0o600))
    after = build(root, placement="stream")
    assert after.train.images.checksum() == before.train.images.checksum()
    assert after.digest() == before.digest()
    assert len(old) == 1
    assert not old & set(cache.glob("train-*/*.pixels"))


def test_unreadable_files_are_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/004.png", "b/001.png"):
        (root / "train" / name).write_bytes(b"broken")
    plain = uncached(root, monkeypatch)
    for _ in range(2):
        data = build(root)
        assert list(data.train.names) == list(plain.train.names)
        assert torch.equal(data.train.images, plain.train.images)
        assert torch.equal(data.train.labels, plain.train.labels)
        assert list(data.skipped) == list(plain.skipped)
    for path in root.glob("train/*/*"):
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"Only 0 of 60 images in .*train' can be read"):
        build(root)


def test_without_a_cache_it_still_reads(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("in the way")
    with pytest.warns(UserWarning, match="can't be kept"):
        data = build(root)
    assert torch.equal(data.train.images, uncached(root, monkeypatch).train.images)
    assert data.note == ""
