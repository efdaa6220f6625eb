"""Both CIFAR data sets, on tiny files in the true format."""

import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import datasets

from imcswav.data import Data
from imcswav.data.cifar10 import CLASSES, Cifar10
from imcswav.data.cifar100 import COARSE, COARSE_INDEX, FINE, Cifar100
from imcswav.errors import DataError

# coarse number of each fine class as the data set's own files have it, an independent copy of the table
OFFICIAL_COARSE = [
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3,
    15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0,
    17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19,
    2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
]  # fmt: skip


def write(
    reader: type[datasets.CIFAR10],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    labels: list[int],
    per_file: int = 4,
) -> dict[str, np.ndarray]:
    """Write files of ``per_file`` images labelled in turn by ``labels``, and tell torchvision so."""
    folder = root / reader.base_folder
    folder.mkdir(parents=True, exist_ok=True)
    generator, written = np.random.default_rng(0), {}
    lists: dict[str, list[list[str]]] = {"train_list": [], "test_list": []}
    for kind, entries in lists.items():
        pixels = []
        for name, _ in getattr(reader, kind):
            pixels.append(generator.integers(0, 256, (per_file, 3072), dtype=np.uint8))
            chosen = [labels[index % len(labels)] for index in range(per_file)]
            content = pickle.dumps({"data": pixels[-1], key: chosen})
            (folder / name).write_bytes(content)
            entries.append([name, hashlib.md5(content).hexdigest()])
        written[kind] = np.concatenate(pixels).reshape(-1, 3, 32, 32)
        monkeypatch.setattr(reader, kind, entries)
    content = pickle.dumps({reader.meta["key"]: ["unused"]})
    (folder / reader.meta["filename"]).write_bytes(content)
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": hashlib.md5(content).hexdigest()})
    return written


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(datasets.CIFAR10, "download", refuse)


def test_cifar10_reads_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write(datasets.CIFAR10, tmp_path, monkeypatch, "labels", [3, 9])
    data = Cifar10.create(root=str(tmp_path))
    assert data.test is not None
    assert np.array_equal(data.train.images, written["train_list"])
    assert np.array_equal(data.test.images, written["test_list"])
    assert data.train.images.dtype == torch.uint8
    assert data.train.images.is_contiguous()
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [3, 9] * 10
    assert data.train.labels.dtype == torch.int64
    assert list(data.train.names) == [str(index) for index in range(20)]
    assert (data.class_names, data.mean, data.std) == (
        CLASSES, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010),
    )  # fmt: skip


def test_cifar100_fine_and_coarse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = [FINE.index("whale"), FINE.index("tractor"), FINE.index("apple")]
    written = write(datasets.CIFAR100, tmp_path, monkeypatch, "fine_labels", fine, per_file=6)
    data = Cifar100.create(root=str(tmp_path))
    coarse = Cifar100.create(root=str(tmp_path), labels="coarse")
    assert data.train.labels is not None
    assert coarse.train.labels is not None
    assert coarse.test is not None
    assert data.train.labels.tolist() == fine * 2
    assert [coarse.class_names[index] for index in coarse.train.labels] == [
        "aquatic_mammals", "vehicles_2", "fruit_and_vegetables",
    ] * 2  # fmt: skip
    assert coarse.test.labels is not None
    assert torch.equal(coarse.train.labels, coarse.test.labels)
    assert np.array_equal(coarse.train.images, written["train_list"])
    assert (data.class_names, len(coarse.class_names)) == (FINE, 20)
    assert (data.mean, data.std) == ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))


def test_coarse_classes_are_the_published_ones() -> None:
    assert COARSE_INDEX.tolist() == OFFICIAL_COARSE
    assert len(set(FINE)) == 100
    assert list(COARSE) == sorted(COARSE)


@pytest.mark.parametrize(
    ("config", "classes"),
    [(Cifar10.Config(), 10), (Cifar100.Config(), 100), (Cifar100.Config(labels="coarse"), 20)],
)
def test_facts_touch_no_disk(config: Data.Config, classes: int, offline: None) -> None:
    facts = config.facts()
    assert (facts.images, facts.channels, facts.size) == (50_000, 3, 32)
    assert len(config.classes()) == classes
    assert facts.mean
    assert facts.std


def test_labels_can_t_influence_what_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    for number, labels in enumerate([[0, 1, 2, 3], [3, 1, 0, 2]]):
        root = tmp_path / str(number)
        write(datasets.CIFAR10, root, monkeypatch, "labels", labels)
        built.append(Cifar10.create(root=str(root)))
    first, second = built
    assert not torch.equal(first.train.labels, second.train.labels)
    assert torch.equal(first.train.images, second.train.images)
    for a, b in zip(*(data.batches(0, seed=0, batch_size=8) for data in built), strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.index, b.index)


def test_missing_and_no_network(tmp_path: Path, offline: None) -> None:
    with pytest.raises(DataError) as caught:
        Cifar10.create(root=str(tmp_path / "nowhere"))
    message = str(caught.value)
    assert message.startswith(f"CIFAR-10 can't be read from '{tmp_path / 'nowhere'}' (URLError: ")
    assert "no route to host" in message
    assert "unpack cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html" in message
    assert "holds the folder cifar-10-batches-py" in message
    assert 'or use a copy in single image files with the data set "image_folder".' in message


def test_missing_and_download_is_off(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar-100-python is not there and download is off\); unpack"):
        Cifar100.Config(root=str(tmp_path), download=False).facts()
    with pytest.raises(DataError, match=r"CIFAR-100 can't be read .*\(RuntimeError: Dataset not found or corr"):
        Cifar100.create(root=str(tmp_path), download=False)


def test_a_changed_file_is_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None) -> None:
    write(datasets.CIFAR10, tmp_path, monkeypatch, "labels", [0])
    marker = tmp_path / "executed"
    changed = tmp_path / "cifar-10-batches-py" / "test_batch"
    changed.write_bytes(b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    for download in (True, False):
        with pytest.raises(DataError, match="CIFAR-10 can't be read"):
            Cifar10.create(root=str(tmp_path), download=download)
    assert not marker.exists()
    pickle.loads(changed.read_bytes())
    assert marker.exists()  # the file would have done it


def test_limit_thins_the_training_images_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write(datasets.CIFAR10, tmp_path, monkeypatch, "labels", [3, 9])
    assert Cifar10.Config(limit=7).facts().images == 7
    data = Cifar10.create(root=str(tmp_path), limit=7)
    assert data.test is not None
    assert data.train.labels is not None
    chosen = [int(name) for name in data.train.names]
    assert len(chosen) == 7
    assert chosen != list(range(7))
    assert np.array_equal(data.train.images, written["train_list"][chosen])
    assert data.train.labels.tolist() == [(3, 9)[index % 2] for index in chosen]
    assert len(data.test) == 4
