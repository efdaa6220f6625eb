"""Arrays in files: npz, npy and folders of npy, as numpy writes them."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imcswav.data.numpy_arrays import NumpyData
from imcswav.errors import DataError
from imcswav.testing import check_component

DRAWS = np.random.default_rng(0)
GREY = DRAWS.integers(0, 256, (6, 10, 12), dtype=np.uint8)
RGB = DRAWS.integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
TEST = DRAWS.integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
LABELS = np.array([4, 1, 1, 0, 2, 2])


def build(path: Path, **more: object) -> NumpyData:
    return NumpyData.create(file=str(path), **more)


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    np.savez(tmp_path / "some.npz", x_train=RGB, y_train=LABELS, x_test=TEST, y_test=np.array([[1], [2], [-1]]))
    return tmp_path / "some.npz"


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("images", "labels", "x_test", "y_test"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_usual_names_are_found(tmp_path: Path, keys: tuple[str, ...], packed: bool) -> None:
    arrays = dict(zip(keys, (RGB, LABELS, TEST, np.array([[1], [2], [-1]])), strict=True)) | {"val_images": GREY}
    if packed:
        np.savez_compressed(tmp_path / "some.npz", **arrays)
    else:
        for name, values in arrays.items():
            np.save(tmp_path / f"{name}.npy", values)
        (tmp_path / "readme.txt").touch()
    data = build(tmp_path / "some.npz" if packed else tmp_path)
    assert np.array_equal(data.train.images.permute(0, 2, 3, 1), RGB)
    assert np.array_equal(data.test.images.permute(0, 2, 3, 1), TEST)
    assert data.train.labels.tolist() == LABELS.tolist()
    assert data.test.labels.tolist() == [1, 2, -1]
    assert data.class_names == ()
    assert data.mean == pytest.approx(RGB.mean((0, 1, 2)) / 255)
    assert data.facts.test_images == 3


def test_a_single_file_takes_only_what_it_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", GREY)
    np.save(tmp_path / "labels.npy", LABELS)
    data = build(tmp_path / "pictures.npy")
    assert np.array_equal(data.train.images, GREY[:, None, :, 1:11])  # cut to squares
    assert (data.train.labels, data.test) == (None, None)
    labelled = build(tmp_path / "pictures.npy", labels="labels", channels=3, size=8)
    assert labelled.train.labels.tolist() == LABELS.tolist()
    assert labelled.train.images.shape == (6, 3, 8, 8)


def test_what_was_found_can_be_refused_or_replaced(npz: Path) -> None:
    data = build(npz, labels="", test="")
    assert (data.train.labels, data.test) == (None, None)
    swapped = build(npz, images="x_test", labels="y_test", test="x_train", test_labels="y_train")
    assert np.array_equal(swapped.train.images.permute(0, 2, 3, 1), TEST)
    assert len(swapped.test) == 6
    with pytest.raises(DataError, match=r"is taken twice: .*; set data.labels or data.test"):
        build(npz, images="x_test")


@pytest.mark.parametrize(
    ("values", "shape"),
    [(GREY / 255, (1, 10)), (GREY[:3, :, :9], (1, 9)), (RGB.transpose(0, 3, 1, 2), (3, 12)), (RGB > 9, (3, 12))],
)
def test_facts_from_the_header_alone(tmp_path: Path, values: np.ndarray, shape: tuple[int, int]) -> None:
    np.savez(tmp_path / "a.npz", x=values)
    np.save(tmp_path / "a.npy", values)
    for path in (tmp_path / "a.npz", tmp_path / "a.npy"):
        facts = NumpyData.Config(file=str(path)).facts()
        assert (facts.images, facts.test_images, (facts.channels, facts.size)) == (len(values), 0, shape)
        check_component(NumpyData, {"file": str(path)})
        assert NumpyData.Config(file=str(path), limit=2, size=8, channels=3).facts().images == 2


def test_limit_reads_its_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(200, dtype=np.uint8)[:, None, None].repeat(9, 1).repeat(9, 2)
    np.savez(tmp_path / "a.npz", x=values, y=np.arange(200))
    whole = build(tmp_path / "a.npz")
    monkeypatch.setattr("imcswav.data.numpy_arrays.CHUNK", 7)
    data = build(tmp_path / "a.npz", limit=40)
    levels = data.train.images[:, 0, 0, 0].tolist()
    assert levels == data.train.labels.tolist() == [int(name) for name in data.train.names]
    assert levels == sorted(set(levels))
    assert len(levels) == 40
    assert (build(tmp_path / "a.npz").train.images == whole.train.images).all()


def test_three_grey_images_read_as_rgb_are_no_colour_image(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY[:3])
    data = build(tmp_path / "a.npy", channels=3)
    assert data.train.images.shape == (3, 3, 10, 10)


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert NumpyData.Config(file="a.npz").resolved().file == str(tmp_path / "a.npz")


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"Arrays can't be read from .*a.npy' \(.*Python objects.*\); set data"):
        build(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
@pytest.mark.parametrize("content", [b"", b"broken", "half"])
def test_broken_files(tmp_path: Path, name: str, content: bytes | str) -> None:
    (np.savez if name == "a.npz" else np.save)(tmp_path / name, RGB)
    good = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(good[: len(good) // 2] if content == "half" else content)
    with pytest.raises(DataError, match=r"Arrays can't be read from .*; set data.file to a good .npz or .npy\."):
        build(tmp_path / name)


@pytest.mark.parametrize("save", [np.savez_compressed, np.savez, np.save])
def test_a_wrong_byte_is_never_more_than_a_sentence(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / ("a.npy" if save is np.save else "a.npz")
    save(path, RGB)
    good = path.read_bytes()
    said: list[str] = []
    for offset in (*range(80), *range(80, len(good) - 130, 97), *range(len(good) - 130, len(good))):
        path.write_bytes(good[:offset] + bytes([good[offset] ^ 0x41]) + good[offset + 1 :])
        for read in (NumpyData.Config(file=str(path)).facts, lambda: build(path)):
            try:
                read()
            except DataError as error:  # anything else is a defect
                said.append(str(error))
    assert len(said) > 50
    assert not [text for text in said if " ()" in text or not text.endswith(".")]
    wanted = {np.savez_compressed: "while decompressing", np.savez: "Bad CRC-32", np.save: "Cannot parse header"}
    assert any(wanted[save] in text for text in said)


def test_versions_of_the_format(tmp_path: Path) -> None:
    def pack(content: bytes) -> Path:
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("x.npy", content)
        return tmp_path / "a.npz"

    for version in ((1, 0), (2, 0), (3, 0)):
        file = io.BytesIO()
        np.lib.format.write_array(file, RGB, version=version)
        assert np.array_equal(build(pack(file.getvalue())).train.images.permute(0, 2, 3, 1), RGB)
    message = r"a.npz' \('x' has version 7.0 of the .npy format, not 1.0, 2.0 or 3.0\); set data.file to a good"
    with pytest.raises(DataError, match=message):
        NumpyData.Config(file=str(pack(file.getvalue().replace(b"NUMPY\3", b"NUMPY\7")))).facts()


def test_what_is_missing_is_named(tmp_path: Path, npz: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.npz' \(No such file or directory\); set data.file"):
        NumpyData.Config(file=str(tmp_path / "nowhere.npz")).facts()
    with pytest.raises(DataError, match=r"no array 'x_trian'. Did you mean 'x_train'\?"):
        build(npz, images="x_trian")
    np.savez(tmp_path / "odd.npz", first=RGB, second=LABELS)
    with pytest.raises(DataError, match=r"None of the arrays in .* \(first, second\) is known; set data.images"):
        build(tmp_path / "odd.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"There are no arrays in .*empty'; set data.file to an .npz"):
        build(tmp_path / "empty")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": RGB, "y": LABELS[:4]}, r"'y' .* have to be 6 whole numbers, .* type int64 and shape \(4,\)\."),
        ({"x": RGB, "y": LABELS / 2}, "type float64"),
        ({"x": RGB.astype(np.int32)}, r"images in .* can't be used: values of type int32 are no pixels"),
        ({"x": RGB[0, 0]}, "the shape .* is none of"),
        ({"x": LABELS}, "the shape .* is none of"),
        ({"x": RGB[:1]}, "There are 1 training images"),
        ({"x": RGB[:0]}, "'x' of .* is empty"),
        ({"x": RGB * 1.0}, r"floats have to lie in 0 … 1"),
    ],
)
def test_arrays_that_are_no_good(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        build(tmp_path / "a.npz")
