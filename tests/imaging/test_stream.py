"""Streamed folders: the same images in the same order as decoded ones, without decoding first or leaving threads."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imcswav.build import build_run
from imcswav.data.image_folder import ImageFolder
from imcswav.errors import DataError
from imcswav.imaging import stream
from imcswav.imaging.prefetch import THREAD_NAME
from imcswav.imaging.stream import Streamed
from imcswav.recipe.files import load_recipe

COUNT = 150


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Files of noise in two class folders; the sizes differ, so that they are cut and scaled."""
    draws = np.random.default_rng(0)
    for index in range(COUNT):
        path = tmp_path / "files" / "ab"[index % 2] / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (9 + index % 5, 12, 3), dtype=np.uint8)).save(path)
    return tmp_path / "files"


def build(root: Path, place: str = "stream", **more: object) -> ImageFolder:
    return ImageFolder.create(root=str(root), size=8, placement=place, **more)


def files(root: Path) -> list[Path]:
    return sorted(root.glob("*/*.png"), key=Path.as_posix)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is decoded from now on."""
    found: list[Path] = []
    real = stream.try_decode

    def counting(path: Path, **settings: object) -> object:
        found.append(path)
        return real(path, **settings)

    monkeypatch.setattr(stream, "try_decode", counting)
    return found


@pytest.mark.parametrize("settings", [{}, {"start": 3}, {"rank": 1, "world": 2, "start": 8}])
def test_batches_are_those_of_decoded_images(root: Path, settings: dict[str, int]) -> None:
    device, streamed = build(root, "device"), build(root)
    for epoch in range(2):
        pair = (data.batches(epoch, seed=3, batch_size=16, **settings) for data in (device, streamed))
        batches = list(zip(*pair, strict=True))
        assert len(batches) == 9 - settings.get("start", 0)
        for one, other in batches:
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.index, other.index)
    assert list(streamed.train.names) == list(device.train.names)
    assert torch.equal(streamed.train.labels, device.train.labels)
    assert streamed.facts == device.facts  # mean and std too: the sample is everything here


def test_statistics_come_from_a_sample(root: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[Path]) -> None:
    monkeypatch.setattr("imcswav.data._files.STATISTICS_SAMPLE", 20)
    first = build(root)
    assert len(decoded) == 20
    whole = build(root, "device")
    assert first.mean != whole.mean
    assert np.allclose(first.mean, whole.mean, atol=0.03)
    assert build(root).mean == first.mean


def test_a_later_run_decodes_nothing(root: Path, decoded: list[Path]) -> None:
    want = [batch.images for batch in build(root).batches(0, seed=1, batch_size=50)]
    assert sorted(decoded) == files(root)
    decoded.clear()
    again = build(root)
    assert all(map(torch.equal, want, (batch.images for batch in again.batches(0, seed=1, batch_size=50))))
    again.readable()
    assert decoded == []


def test_a_changed_file_is_another_data_set_and_replaces_the_cache(root: Path, cache: Path) -> None:
    before = build(root)
    old, path = before.train.images[5], files(root)[5]
    digests = [before.digest(), build(root).digest()]
    os.utime(path, (1, 1))
    digests.append(build(root).digest())
    Image.new("RGB", (9, 9), (1, 2, 3)).save(path)
    changed = build(root)
    digests.append(changed.digest())
    assert torch.equal(changed.train.images[5], build(root, "device").train.images[5])
    assert not torch.equal(changed.train.images[5], old)
    assert torch.equal(before.train.images[5], old)  # who has the old cache open keeps it
    files(root)[9].unlink()
    digests.append(build(root).digest())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4
    assert len(list(cache.rglob("*.pixels"))) == 1


@pytest.mark.parametrize("more", [{"size": 9}, {"channels": 1}, {"resize": "pad"}, {"limit": 40}])
def test_other_settings_have_a_cache_of_their_own(root: Path, cache: Path, more: dict[str, object]) -> None:
    for settings in ({}, more, {}):
        settings = {"size": 8, **settings}
        one, other = (ImageFolder.create(root=str(root), placement=p, **settings) for p in ("stream", "device"))
        assert torch.equal(torch.cat(list(one.train.images.split(64))), other.train.images)
    assert len(list(cache.rglob("*.pixels"))) == 2


def test_splits_stream_each_and_a_relative_root_does(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "a").rename(root / "train")
    (root / "b").rename(root / "test")
    monkeypatch.chdir(root)
    one, other = (build(Path("."), place) for place in ("stream", "device"))
    assert isinstance(one.test.images, Streamed)
    assert list(one.test.names) == list(other.test.names)
    assert torch.equal(one.test.images[torch.arange(75)], other.test.images)
    assert one.digest() == build(root).digest()


@pytest.mark.parametrize("seed", range(3))
def test_an_unreadable_file_is_replaced_the_same_way_in_every_run(root: Path, cache: Path, seed: int) -> None:
    broken = np.random.default_rng(seed).choice(COUNT, 40, replace=False).tolist()
    for index in broken:
        files(root)[index].write_bytes(b"no image")
    good = build(root, "device")
    shown = [torch.cat([b.images for b in build(root).batches(0, seed=1, batch_size=50)])]
    for path in cache.rglob("*.*"):
        path.unlink()
    data = build(root)
    shown.append(torch.cat([b.images for b in data.batches(0, seed=1, batch_size=50)]))
    parts = [next(iter(build(root).batches(0, seed=1, batch_size=50, start=start))).images for start in range(3)]
    shown.append(torch.cat(parts))
    assert all(torch.equal(shown[0], other) for other in shown)
    known = {image.numpy().tobytes() for image in good.train.images}
    assert {image.numpy().tobytes() for image in shown[0]} == known  # only good images, and no good one is missing
    assert data.skipped == good.skipped
    assert len(data.skipped) == 40


def test_evaluation_has_only_what_can_be_read(root: Path, decoded: list[Path]) -> None:
    for path in (files(root)[0], files(root)[100]):
        path.write_bytes(b"no image")
    data, good = build(root), build(root, "device")
    readable = data.readable()
    assert (len(data.train), len(readable.train)) == (COUNT, COUNT - 2)
    assert list(readable.train.names) == list(good.train.names)
    assert torch.equal(readable.train.labels, good.train.labels)
    assert torch.equal(torch.cat(list(readable.train.images.split(64))), good.train.images)
    assert torch.equal(readable.train.images[torch.tensor([147, 0])], good.train.images[[147, 0]])
    assert [path for path, _ in data.skipped] == [str(files(root)[i]) for i in (0, 100)]
    decoded.clear()
    data.readable().readable()
    assert decoded == []


def test_nothing_readable_is_an_error(root: Path) -> None:
    for path in files(root):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"images can't be read .*; mend or remove them\."):
        build(root)
    assert threads() == []


def test_a_test_folder_of_which_nothing_is_readable_is_an_error(root: Path) -> None:
    (root / "a").rename(root / "train")
    (root / "b").rename(root / "test")
    for path in root.glob("test/*"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"images can't be read .*test/\d+\.png"):
        build(root)


def test_without_a_cache_it_still_streams(root: Path, cache: Path, decoded: list[Path]) -> None:
    cache.write_text("in the way")
    with pytest.warns(UserWarning, match="can't be kept") as warned:
        data = build(root)
    assert len(warned) == 1
    assert data.note == "Images: decoded while training (as placement asks)."
    decoded.clear()
    for one, other in zip(*(d.batches(0, seed=1, batch_size=50) for d in (data, build(root, "device"))), strict=True):
        assert torch.equal(one.images, other.images)
    assert len(decoded) == 150
    assert len(data.readable().train) == 150
    assert len(decoded) == 150


def test_only_a_few_batches_are_read_ahead(root: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[Path]) -> None:
    monkeypatch.setattr("imcswav.data._files.STATISTICS_SAMPLE", 1)
    batches = build(root).batches(0, seed=1, batch_size=5)
    decoded.clear()
    next(batches)
    deadline = time.monotonic() + 60
    while len(set(decoded)) < 5 * (Streamed.depth + 1) - 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)  # whatever more would be read, would be now
    assert len(set(decoded)) <= 5 * (Streamed.depth + 1)
    batches.close()


def interrupted(data: ImageFolder, error: type[BaseException]) -> None:
    for step, _ in enumerate(data.batches(0, seed=1, batch_size=5)):
        assert threads()
        if step == 2:
            raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_no_thread_is_left_after_an_error(root: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        interrupted(build(root), error)
    assert threads() == []


def test_no_thread_is_left_after_the_end_or_a_break(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = build(root)
    list(data.batches(0, seed=1, batch_size=5))
    for _ in data.batches(0, seed=1, batch_size=5):
        break
    data.train.images[torch.arange(9)]
    assert threads() == []
    monkeypatch.setattr(Streamed, "read_into", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(data.batches(0, seed=1, batch_size=5))
    assert threads() == []


def test_a_process_that_stops_amid_an_epoch_ends(root: Path) -> None:
    script = (
        "import sys; from imcswav.data.image_folder import ImageFolder\n"
        "batches = ImageFolder.create(root=sys.argv[1], size=8, placement='stream').batches(0, seed=1, batch_size=5)\n"
        "next(batches); raise KeyboardInterrupt\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


def test_a_run_that_chose_to_stream_keeps_streaming(
    tiny: dict[str, Any], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed where there is more memory, "auto" would measure another mean."""
    monkeypatch.setattr("imcswav.data._files.must_stream", lambda placement, need: "for a test")
    tiny["data"] = {"name": "image_folder", "root": str(root), "size": 12}
    trainer, _ = build_run(load_recipe(tiny, {"trainer.batch_size": 10}), out=tmp_path / "run")
    assert trainer.run.recipe().data.placement == "stream"
    assert "streamed images" in trainer.data.digest()
