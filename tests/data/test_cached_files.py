"""Many files, decoded into memory: a later start reads the decoded cache, and only what is proven there."""

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
