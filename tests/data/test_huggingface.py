"""Data sets of the package ``datasets``, in the formats it writes."""

import builtins
import io
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imcswav.data.huggingface import HuggingFace
from imcswav.errors import DataError
from imcswav.testing import check_component

NAMES = ["cat", "dog"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The package, its cache in a folder of the test."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    return datasets


def split(package, levels: list[int], labels: list[int], **more: list):
    features = package.Features(
        {"image": package.Image(), "label": package.ClassLabel(names=NAMES)}
        | {key: package.Value("int64") for key in more}
    )
    pictures = [Image.new("L", (12, 10), level) for level in levels]
    return package.Dataset.from_dict({"image": pictures, "label": labels, **more}, features=features)


@pytest.fixture
def folder(package, tmp_path: Path) -> Path:
    parts = {"train": split(package, [10, 20, 30, 40], [1, 0, 0, -1]), "test": split(package, [50, 60], [0, 1])}
    parts["validation"] = split(package, [70], [1])
    package.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def build(path: Path | str, **more: object) -> HuggingFace:
    return HuggingFace.create(path=str(path), **more)


def levels(images) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_a_saved_folder(folder: Path) -> None:
    data = build(folder)
    assert data.train.images.shape == (4, 3, 10, 10)
    assert levels(data.train.images) == [10, 20, 30, 40]
    assert levels(data.test.images) == [50, 60]
    assert data.train.labels.tolist() == [1, 0, 0, -1]
    assert data.test.labels.tolist() == [0, 1]
    assert data.class_names == ("cat", "dog")
    assert list(data.train.names)[:2] == ["train/0", "train/1"]
    assert list(data.test.names) == ["test/0", "test/1"]
    assert data.mean == pytest.approx([25 / 255] * 3)
    check_component(HuggingFace, {"path": str(folder), "channels": 1})


def test_splits_labels_and_limit_can_be_chosen(folder: Path) -> None:
    assert levels(build(folder, test="validation", size=8).test.images) == [70]
    assert build(folder, test="", label="").test is None
    assert build(folder, label="").train.labels is None
    swapped = build(folder, train="test", size=8)
    assert levels(swapped.train.images) == [50, 60]
    assert levels(swapped.test.images) == [70]
    data = build(folder, limit=3)
    assert [int(name.split("/")[1]) * 10 + 10 for name in data.train.names] == levels(data.train.images)
    assert len(data.train) == len(data.train.labels) == 3


def test_facts_before_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = HuggingFace.Config(path=str(folder), limit=3, channels=1, resize="pad").facts()
    assert (facts.images, facts.test_images, facts.channels, facts.size, facts.resize) == (3, 2, 1, 10, "pad")
    monkeypatch.chdir(folder.parent)
    assert HuggingFace.Config(path="saved").resolved().path == str(folder)
    assert HuggingFace.Config(path="someone/else").resolved().path == "someone/else"


def test_one_split_saved_alone(package, tmp_path: Path) -> None:
    split(package, [10, 20], [0, 1]).save_to_disk(tmp_path / "one")
    data = build(tmp_path / "one")
    assert (levels(data.train.images), data.test) == ([10, 20], None)


def test_parquet_files(package, tmp_path: Path) -> None:
    split(package, [10, 20], [0, 1]).to_parquet(tmp_path / "all.parquet")
    one = build(tmp_path / "all.parquet")
    assert (levels(one.train.images), one.train.labels.tolist(), one.class_names) == ([10, 20], [0, 1], ("cat", "dog"))
    (tmp_path / "repo" / "data").mkdir(parents=True)
    split(package, [10, 20], [0, 1]).to_parquet(tmp_path / "repo/data/train-00000-of-00001.parquet")
    split(package, [30], [1]).to_parquet(tmp_path / "repo/data/test-00000-of-00001.parquet")
    data = build(tmp_path / "repo")
    assert (levels(data.train.images), levels(data.test.images)) == ([10, 20], [30])


def test_parquet_without_the_package_s_own_metadata(package, tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    cells = []
    for level in (10, 20):
        file = io.BytesIO()
        Image.new("L", (9, 9), level).save(file, "PNG")
        cells.append({"bytes": file.getvalue(), "path": "x.png"})
    parquet.write_table(arrow.table({"img": cells, "labels": [7, 3]}), tmp_path / "plain.parquet")
    data = build(tmp_path / "plain.parquet")
    assert (levels(data.train.images), data.train.labels.tolist(), data.class_names) == ([10, 20], [7, 3], ())


def test_broken_images_are_skipped_with_their_labels(package, tmp_path: Path) -> None:
    whole = split(package, [10, 20, 30, 40], [0, 1, 1, 0])
    plain = whole.cast_column("image", package.Image(decode=False))
    cells = plain[:]["image"]
    cells[1], cells[3] = {"bytes": b"broken", "path": None}, None
    features = package.Features({"image": package.Image(decode=False), "label": whole.features["label"]})
    package.Dataset.from_dict({"image": cells, "label": plain["label"]}, features=features).save_to_disk(tmp_path / "b")
    data = build(tmp_path / "b")
    assert (levels(data.train.images), data.train.labels.tolist()) == ([10, 30], [0, 1])
    assert list(data.train.names) == ["train/0", "train/2"]
    assert list(data.skipped) == [
        ("train/1", "it is no image that Pillow reads"),
        ("train/3", "the cell is empty"),
    ]
    package.load_from_disk(str(tmp_path / "b")).select([1, 3]).save_to_disk(tmp_path / "none")
    with pytest.raises(DataError, match=r"Only 0 of 2 images in the split 'train' .* can be read \(train/0: it is no"):
        build(tmp_path / "none")


def test_columns_and_splits_that_aren_t_there(package, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=r"has no split 'tests'. Did you mean 'test'\?"):
        build(folder, test="tests")
    with pytest.raises(DataError, match=r"has no column 'lable'. Did you mean 'label'\?"):
        build(folder, label="lable")
    with pytest.raises(DataError, match=r"has the image columns \['image'\]; set data.image to one of them"):
        build(folder, image="picture")
    package.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(tmp_path / "text")
    with pytest.raises(DataError, match=r"has the image columns none; set data.image"):
        HuggingFace.Config(path=str(tmp_path / "text")).facts()
    split(package, [1, 2], [0, 1], name=[5, 6]).rename_column("name", "other").save_to_disk(tmp_path / "more")
    assert build(tmp_path / "more", label="other").train.labels.tolist() == [5, 6]


def test_what_can_t_be_loaded(package, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'/no/such/folder' does not exist and is no name on the hub; set data.path"):
        HuggingFace.Config(path="/no/such/folder").facts()
    (tmp_path / "x.parquet").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"x.parquet' can't be loaded \(.*\); set data.path to a good copy\."):
        build(tmp_path / "x.parquet")


def test_a_hub_that_can_t_be_reached_is_one_sentence_at_once(package, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(host: object, *arguments: object, **more: object) -> None:
        asked.append(host)
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(
        DataError, match=r"'someone/pictures' is no folder here and can't be had from the hub \(.*\); gi"
    ):
        build("someone/pictures", size=16)
    assert 1 <= len(asked) <= 3  # once, and the hub's package may look for something else; alone it would try six times
    asked.clear()
    facts = HuggingFace.Config(path="someone/pictures", size=16).facts()
    assert (facts.images, facts.size) == (None, 16)
    with pytest.raises(DataError, match=r"Set data.size: before 'someone/pictures' is fetched"):
        HuggingFace.Config(path="someone/pictures").facts()
    assert asked == []


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: object) -> object:
        if name == "datasets":
            raise ImportError("No module named 'datasets'")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", absent)
    message = r'needs the package datasets \(No module named .*\); install it: pip install "imcswav\[huggingface\]"\.'
    with pytest.raises(DataError, match=message):
        HuggingFace.Config(path=str(tmp_path)).facts()


def test_it_is_not_imported_before_it_is_needed() -> None:
    import subprocess
    import sys

    script = "import sys; import imcswav.data.huggingface; print('datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"


def test_pictures_are_decoded_as_files_are(package, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    features = package.Features({"image": package.Image()})
    package.Dataset.from_dict({"image": [Image.fromarray(noise)] * 2}, features=features).save_to_disk(tmp_path / "s")
    from imcswav.imaging.read import decode

    assert (build(tmp_path / "s", size=16).train.images == decode(noise, size=16)).all()
