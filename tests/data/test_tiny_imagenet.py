"""Tiny-ImageNet and subsets of ImageNet, on tiny folders in the true layout."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from imcswav.data.imagenet_subset import IMAGENET_10, IMAGENET_DOGS, ImageNetSubset
from imcswav.data.tiny_imagenet import TinyImageNet
from imcswav.errors import DataError
from imcswav.imaging.stream import Streamed
from imcswav.testing import check_component

IDS = ["n02124075", "n01443537", "n09999999"]  # as in wnids.txt: in no order


def save(path: Path, level: int, size: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (level,) * 3).save(path, "JPEG", quality=95)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training images a class and four validation images; grey levels tell them apart."""
    folder = tmp_path / "data" / "tiny-imagenet-200"
    for number, name in enumerate(IDS):
        for index in range(2):
            save(folder / "train" / name / "images" / f"{name}_{index}.JPEG", 20 * number + 10 * index)
        (folder / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t10\t63\t58\n")
    lines = []
    for index, name in enumerate([IDS[1], IDS[0], IDS[1], IDS[2]]):
        save(folder / "val" / "images" / f"val_{index}.JPEG", 100 + index)
        lines.append(f"val_{index}.JPEG\t{name}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    save(folder / "test" / "images" / "test_0.JPEG", 0)
    (folder / "wnids.txt").write_text("\n".join(IDS) + "\n")
    (folder / "words.txt").write_text("n01443537\tgoldfish, Carassius auratus\nn02124075\tEgyptian cat\nn1\tother\n")
    return folder


def tiny(root: Path, **more: object) -> TinyImageNet:
    return TinyImageNet.create(root=str(root), **more)


def test_splits_labels_and_names(root: Path) -> None:
    data = tiny(root)
    assert data.class_names == ("goldfish", "Egyptian cat", "n09999999")
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.train.images[:, 0, 0, 0].tolist() == pytest.approx([20, 30, 0, 10, 40, 50], abs=1)
    assert data.test.labels.tolist() == [0, 1, 0, 2]
    assert data.test.images[:, 0, 0, 0].tolist() == pytest.approx([100, 101, 102, 103], abs=1)
    assert data.train.images.shape == (6, 3, 64, 64)
    assert data.train.names[0] == "train/n01443537/images/n01443537_0.JPEG"
    assert data.test.names[0] == "val/images/val_0.JPEG"
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (data.note, list(data.skipped)) == ("", [])
    assert data.facts.test_images == 4


def test_facts_need_no_decoding_and_the_folder_above_will_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_component(TinyImageNet, {"root": str(root.parent)})
    (root / "train" / IDS[0] / "images" / f"{IDS[0]}_0.JPEG").write_bytes(b"broken")
    facts = TinyImageNet.Config(root=str(root.parent), limit=5).facts()
    assert (facts.images, facts.channels, facts.size, facts.test_images) == (5, 3, 64, 4)
    assert facts.mean == (0.485, 0.456, 0.406)
    monkeypatch.chdir(root.parent)
    assert TinyImageNet.Config(root=".").resolved().root == str(root)
    data = tiny(root)
    assert (len(data.train), len(data.skipped)) == (5, 1)
    assert len(TinyImageNet.Config(root=str(root), limit=3).listings()[0].paths) == 3


def test_other_channels_have_no_published_constants(root: Path) -> None:
    data = tiny(root, channels=1, size=16)
    assert data.train.images.shape == (6, 1, 16, 16)
    assert data.mean == pytest.approx([25 / 255], abs=0.01)
    assert TinyImageNet.Config(root=str(root), channels=1).facts().mean == ()


def test_it_streams(root: Path) -> None:
    data, decoded = tiny(root, placement="stream"), tiny(root)
    assert isinstance(data.train.images, Streamed)
    assert isinstance(data.test.images, Streamed)
    assert (next(data.train.images.split(6)) == decoded.train.images).all()
    assert (next(data.test.images.split(4)) == decoded.test.images).all()
    assert data.facts == decoded.facts
    assert len(data.readable().train) == 6


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("train", r"train is not there\); unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip"),
        ("wnids.txt", r"wnids.txt can't be read: No such file or directory"),
        ("train/n02124075/images", "there are no images in .*n02124075"),
        ("val/images", "images: it has no images"),
        ("val/val_annotations.txt", r"val_annotations.txt can't be read: No such file"),
    ],
)
def test_what_is_missing_is_named(root: Path, gone: str, message: str) -> None:
    (root / gone).rename(root / "elsewhere")
    with pytest.raises(DataError, match=f"Tiny-ImageNet can't be read from .*{message}"):
        TinyImageNet.Config(root=str(root)).facts()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "val_annotations.txt is empty"),
        ("val_0.JPEG\n", r"val_annotations.txt, line 1, has 1 words where 2 are needed"),
        ("val_0.JPEG\tn01443537\n", "val_annotations.txt has no line for val_1.JPEG"),
        (b"\xff\xfe", "val_annotations.txt can't be read: it is no text"),
    ],
)
def test_annotations_that_are_no_good(root: Path, text: str | bytes, message: str) -> None:
    (root / "val" / "val_annotations.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        tiny(root)


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """One training image of each class of both lists and one more, two validation images a class; 20 px."""
    folder = tmp_path / "imagenet"
    for number, name in enumerate(sorted({*IMAGENET_10, *IMAGENET_DOGS, "n99999999"})):
        save(folder / "train" / name / f"{name}_1.JPEG", 5 * number, 20)
        for index in range(2):
            save(folder / "val" / name / f"ILSVRC2012_val_0000000{index}.JPEG", 250 - number, 20)
    return folder


def subset(root: Path, classes: object = "imagenet_10", **more: object) -> ImageNetSubset:
    return ImageNetSubset.create(root=str(root), classes=classes, **{"size": 8, **more})


@pytest.mark.parametrize(("name", "known"), [("imagenet_10", IMAGENET_10), ("imagenet_dogs", IMAGENET_DOGS)])
def test_named_lists(imagenet: Path, name: str, known: dict[str, str]) -> None:
    data = subset(imagenet, name)
    assert data.class_names == tuple(known[one] for one in sorted(known))
    assert len(known) == {"imagenet_10": 10, "imagenet_dogs": 15}[name]
    assert [one.split("/")[1] for one in data.train.names] == sorted(known)
    assert data.train.labels.tolist() == list(range(len(known)))
    assert data.test is None  # published figures score the training images
    assert ImageNetSubset.Config(root=str(imagenet), classes=name).facts().size == 96
    with_test = subset(imagenet, name, validation=True)
    assert with_test.test.labels.tolist() == [label for label in range(len(known)) for _ in range(2)]
    assert with_test.facts.images == len(known)


def test_ids_from_a_list_or_a_file_in_any_order(imagenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (imagenet / "ids.txt").write_text("# mine\nn99999999 not used\n\nn02085936\n")
    (imagenet / "LOC_synset_mapping.txt").write_text("n99999999 zebra crossing, crosswalk\n")
    monkeypatch.chdir(imagenet)
    for classes in (["n99999999", "n02085936"], "ids.txt", str(imagenet / "ids.txt")):
        data = subset(imagenet, classes)
        assert data.class_names == ("Maltese dog", "zebra crossing")
        assert data.train.labels.tolist() == [0, 1]
    settings = ImageNetSubset.Config(root=".", classes="ids.txt").resolved()
    assert (settings.root, settings.classes) == (str(imagenet), str(imagenet / "ids.txt"))
    assert ImageNetSubset.Config(root=".", classes="imagenet_10").resolved().classes == "imagenet_10"
    check_component(ImageNetSubset, {"root": str(imagenet), "classes": ["n99999999", "n02085936"], "size": 8})


def test_subsets_of_a_folder_keep_each_its_decoded_cache(
    imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("imagenet_10", "imagenet_dogs")
    first = {name: subset(imagenet, name, placement="stream", validation=True).readable() for name in names}
    assert len(list((tmp_path / "cache").rglob("*.pixels"))) == 4
    monkeypatch.setattr("imcswav.imaging.stream.try_decode", lambda path, **settings: f"{path} is decoded again")
    for name in names:
        again = subset(imagenet, name, placement="stream", validation=True).readable()
        for one, other in ((again.train, first[name].train), (again.test, first[name].test)):
            assert len(one) == len(other)
            assert torch.equal(one.images[torch.arange(len(one))], other.images[torch.arange(len(other))])
    assert len(list((tmp_path / "cache").rglob("*.pixels"))) == 4


def test_a_folder_of_the_classes_alone(imagenet: Path) -> None:
    one, other = subset(imagenet / "train"), subset(imagenet)
    assert (one.train.images == other.train.images).all()
    assert one.train.names[0] == "n02056570/n02056570_1.JPEG"


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["n02085936", "n00000001", "n00000002"], "2 of the 3 classes have no images in .*the first is n00000001"),
        (["n02085936", "n02085936"], "two or more different ids, and holds 2"),
        (["n02085936"], "two or more different ids, and holds 1"),
        ("imagenet_11", r"no list \(imagenet_10, imagenet_dogs\) and no good file of ids: imagenet_11 can't be read"),
    ],
)
def test_lists_that_are_no_good(imagenet: Path, classes: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageNetSubset.Config(root=str(imagenet), classes=classes).facts()


def test_a_missing_root_and_a_flat_validation_folder(imagenet: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist or can't be reached; set data.root"):
        subset(tmp_path / "nowhere")
    (imagenet / "val").rename(imagenet / "elsewhere")
    save(imagenet / "val" / "ILSVRC2012_val_00000001.JPEG", 1)
    with pytest.raises(DataError, match=r"10 of the 10 classes have no images in '.*val'"):
        subset(imagenet, validation=True)
