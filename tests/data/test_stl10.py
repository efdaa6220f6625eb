"""STL-10, on tiny files in the true format: bytes column by column, labels from 1."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets
from torchvision.datasets import utils

from imcswav.data.stl10 import CLASSES, Stl10
from imcswav.errors import DataError
from imcswav.testing import check_component

LABELS = [3, 10, 1, 1]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """4 labelled, 7 unlabelled and 3 test images (N, 3, rows, columns) as written, and the md5 sums of the files."""
    reader, folder = datasets.STL10, tmp_path / "stl10_binary"
    folder.mkdir()
    draws = np.random.default_rng(0)
    written = {
        name: draws.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        for name, count in (("train", 4), ("unlabeled", 7), ("test", 3))
    }
    content = {f"{name}_X.bin": pixels.transpose(0, 1, 3, 2).tobytes() for name, pixels in written.items()}
    content |= {"train_y.bin": bytes(LABELS), "test_y.bin": bytes([2, 2, 5])}
    for name, values in content.items():
        (folder / name).write_bytes(values)
    for kind in ("train_list", "test_list"):
        entries = [[name, hashlib.md5(content[name]).hexdigest()] for name, _ in getattr(reader, kind)]
        monkeypatch.setattr(reader, kind, entries)
    return written


def build(root: Path, **more: object) -> Stl10:
    return Stl10.create(root=str(root), **{"download": False, **more})


def test_both_training_parts_and_the_labelled_one(tmp_path: Path, files: dict[str, np.ndarray]) -> None:
    data = build(tmp_path)
    assert data.test is not None
    assert np.array_equal(data.train.images, np.concatenate([files["train"], files["unlabeled"]]))
    assert np.array_equal(data.test.images, files["test"])
    assert data.train.images.is_contiguous()
    assert data.train.labels.tolist() == [2, 9, 0, 0, *[-1] * 7]
    assert data.test.labels.tolist() == [1, 1, 4]
    assert data.train.labels.dtype == torch.int64
    assert data.train.subsets["labelled"].tolist() == [True] * 4 + [False] * 7
    assert not data.test.subsets
    assert list(data.train.names)[3:5] == ["train_X/3", "unlabeled_X/0"]
    assert (data.class_names, data.mean, data.std) == (CLASSES, (0.43, 0.42, 0.39), (0.27, 0.26, 0.27))
    assert (data.facts.subsets, data.facts.test_images) == ({"labelled": 4}, 3)


def test_the_labelled_part_alone_needs_no_other_file(tmp_path: Path, files: dict[str, np.ndarray]) -> None:
    (tmp_path / "stl10_binary" / "unlabeled_X.bin").unlink()
    data = build(tmp_path, unlabelled=False)
    assert np.array_equal(data.train.images, files["train"])
    assert data.train.labels.tolist() == [2, 9, 0, 0]
    assert data.train.subsets["labelled"].all()


def test_images_as_torchvision_reads_them(tmp_path: Path, files: dict[str, np.ndarray]) -> None:
    theirs = datasets.STL10(tmp_path, split="train+unlabeled")
    data = build(tmp_path)
    assert np.array_equal(data.train.images, theirs.data)
    assert data.train.labels.tolist() == list(theirs.labels)


@pytest.mark.parametrize("chunk", [2, 1024])
def test_limit_keeps_images_labels_and_membership_together(
    tmp_path: Path, files: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("imcswav.data.stl10.CHUNK", chunk)
    whole, data = build(tmp_path), build(tmp_path, limit=6)
    assert len(data.train) == len(set(data.train.names)) == 6
    rows = [list(whole.train.names).index(name) for name in data.train.names]
    assert rows == sorted(rows)
    assert torch.equal(data.train.images, whole.train.images[rows])
    assert torch.equal(data.train.labels, whole.train.labels[rows])
    assert torch.equal(data.train.subsets["labelled"], whole.train.subsets["labelled"][rows])
    assert len(data.test) == 3


def test_batches_tell_which_rows_are_labelled(tmp_path: Path, files: dict[str, np.ndarray]) -> None:
    for batch in build(tmp_path).batches(0, seed=1, batch_size=5):
        assert batch.subsets["labelled"].tolist() == [row for row, index in enumerate(batch.index) if index < 4]


@pytest.mark.parametrize(
    ("settings", "images", "labelled"),
    [({}, 105_000, 5000), ({"unlabelled": False}, 5_000, 5000), ({"limit": 2000}, 2000, 90)],
)
def test_facts_touch_no_disk(settings: dict[str, object], images: int, labelled: int) -> None:
    facts = Stl10.Config(**settings).facts()
    assert (facts.images, facts.channels, facts.size, facts.test_images) == (images, 3, 96, 8_000)
    assert (facts.mean, facts.subsets) == ((0.43, 0.42, 0.39), {"labelled": labelled})


def test_contract_and_absolute_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    check_component(Stl10)
    assert Stl10.Config(root="here").resolved().root == str(tmp_path / "here")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"stl10_binary is not there and download is off\); unpack stl10_binary.tar.gz"):
        Stl10.Config(root=str(tmp_path), download=False).facts()


def test_a_damaged_file_is_named_and_fetched_again(
    tmp_path: Path, files: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stl10_binary" / "train_X.bin"
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with pytest.raises(DataError, match=r"STL-10 can't be read .*\(train_X.bin missing or damaged in "):
        build(tmp_path)
    asked: list[object] = []

    def fetch(url: str, root: Path, filename: str, md5: str) -> None:
        asked.append((url, root, filename))
        path.write_bytes(good)

    monkeypatch.setattr(utils, "download_and_extract_archive", fetch)
    data = build(tmp_path, download=True)
    assert np.array_equal(data.train.images[:4], files["train"])
    assert asked == [(datasets.STL10.url, tmp_path, "stl10_binary.tar.gz")]

    def refuse(*arguments: object, **more: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(utils, "download_and_extract_archive", refuse)
    path.unlink()
    with pytest.raises(DataError, match=r"\(OSError: no route to host\); unpack stl10_binary.tar.gz from https://cs"):
        build(tmp_path, download=True)
