import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from imcswav.data.image_folder import ImageFolder
from imcswav.errors import DataError


def fill(root: Path, *names: str) -> None:
    """Images of one grey level each, 10, 11, … in the order of the names."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 10), 10 + number).save(root / name)


def build(root: Path, **more: object) -> ImageFolder:
    return ImageFolder.create(root=str(root), **{"size": 8, **more})


def warnings(root: Path, **more: object) -> list[str]:
    _, problems = ImageFolder.Config(root=str(root), size=8, **more).surveyed(10)
    assert {problem.severity for problem in problems} <= {"warning"}
    return [problem.message for problem in problems]


def levels(images: torch.Tensor) -> list[int]:
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    fill(tmp_path, "b.png", "a.png", "c.bmp")
    data = build(tmp_path)
    assert list(data.train.names) == ["a.png", "b.png", "c.bmp"]
    assert levels(data.train.images) == [11, 10, 12]
    assert (data.train.labels, data.test, data.class_names, list(data.skipped)) == (None, None, (), [])
    assert data.facts.size == 8
    assert data.mean == pytest.approx([11 / 255] * 3)


def test_top_folders_are_classes(tmp_path: Path) -> None:
    fill(tmp_path, "dog/1.png", "cat/2.png", "dog/deep/0.png", "cat/1.png")
    data = build(tmp_path, channels=1)
    assert list(data.train.names) == ["cat/1.png", "cat/2.png", "dog/1.png", "dog/deep/0.png"]
    assert levels(data.train.images) == [13, 11, 10, 12]
    assert data.class_names == ("cat", "dog")
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert build(tmp_path, labels="none").train.labels is None


@pytest.mark.parametrize("names", [("cat/1.png", "cat/2.png"), ("cat/1.png", "dog/1.png", "stray.png")])
def test_one_folder_or_strays_make_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    fill(tmp_path, *names)
    data = build(tmp_path)
    assert (data.train.labels, data.class_names) == (None, ())
    assert len(data.train) == len(names)


@pytest.mark.parametrize("test", ["test", "val"])
def test_splits(tmp_path: Path, test: str) -> None:
    fill(tmp_path, "train/cat/1.png", "train/dog/1.png", f"{test}/dog/2.png", f"{test}/emu/2.png", "else/x.png")
    data = build(tmp_path)
    assert data.test is not None
    assert list(data.train.names) == ["train/cat/1.png", "train/dog/1.png"]
    assert list(data.test.names) == [f"{test}/dog/2.png", f"{test}/emu/2.png"]
    assert data.class_names == ("cat", "dog", "emu")
    assert data.train.labels is not None
    assert data.test.labels is not None
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 1], [1, 2])
    assert data.mean == pytest.approx([10.5 / 255] * 3)  # of the training split alone
    whole = build(tmp_path, splits="none")
    assert (len(whole.train), whole.test) == (5, None)


def test_unlabelled_training_and_labelled_test(tmp_path: Path) -> None:
    fill(tmp_path, "train/1.png", "train/2.png", "test/cat/1.png", "test/dog/1.png")
    data = build(tmp_path)
    assert data.test is not None
    assert data.train.labels is None
    assert data.test.labels is not None
    assert data.test.labels.tolist() == [0, 1]
    assert data.class_names == ("cat", "dog")


def test_test_is_preferred_to_val_and_without_train_neither_is_a_split(tmp_path: Path) -> None:
    fill(tmp_path, "test/1.png", "test/2.png", "val/1.png", "val/3.png")
    assert build(tmp_path).class_names == ("test", "val")
    fill(tmp_path, "train/1.png", "train/2.png")
    data = build(tmp_path)
    assert data.test is not None
    assert list(data.test.names) == ["test/1.png", "test/2.png"]


def test_images_beside_the_splits_are_told(tmp_path: Path) -> None:
    fill(tmp_path, "train/1.png", "train/2.png", "bus/1.png", "bus/deep/2.png", "car/1.png", "car/2.png", "x.png")
    (tmp_path / "notes.txt").touch()
    fill(tmp_path / ".hidden", "1.png")
    (tmp_path / "again").symlink_to("train")
    said = '5 images beside train are left out (bus, car, x.png); set data.splits = "none" to take all as one.'
    assert build(tmp_path).note == said
    assert warnings(tmp_path) == [said]
    assert "beside train" not in build(tmp_path, splits="none", labels="none").note


def test_links_to_what_is_taken_leave_nothing_out(tmp_path: Path) -> None:
    fill(tmp_path, "train/a/1.png", "train/a/2.png", "train/b/1.png")
    (tmp_path / "dev").symlink_to(tmp_path / "train" / "a")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert "left out" not in build(tmp_path, labels="none").note


def test_val_beside_test_is_told(tmp_path: Path) -> None:
    fill(tmp_path, "train/1.png", "train/2.png", "val/1.png")
    assert (build(tmp_path).note, warnings(tmp_path)) == ("", [])
    fill(tmp_path, "test/1.png")
    said = '1 image beside train and test is left out (val); set data.splits = "none" to take all as one.'
    assert (build(tmp_path).note, warnings(tmp_path)) == (said, [said])


def test_one_test_image_is_enough_but_not_none(tmp_path: Path) -> None:
    fill(tmp_path, "train/1.png", "train/2.png", "test/1.png")
    data = build(tmp_path)
    assert data.test is not None
    assert len(data.test) == 1
    (tmp_path / "test" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"Only 0 of 1 images in '.*test' can be read"):
        build(tmp_path)


def test_facts_come_from_the_listing(tmp_path: Path) -> None:
    fill(tmp_path, "cat/1.png", "dog/1.png", "dog/2.png")
    (tmp_path / "dog" / "2.png").write_text("broken")
    facts = ImageFolder.Config(root=str(tmp_path), size=8, channels=1, resize="pad").facts()
    assert (facts.images, facts.size, facts.channels, facts.resize) == (
        3, 8, 1, "pad",
    )  # fmt: skip
    assert (facts.mean, facts.std) == ((), ())
    assert build(tmp_path, resize="pad").facts.resize == "pad"


def test_broken_files_are_skipped_with_their_labels(tmp_path: Path) -> None:
    fill(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    (tmp_path / "cat" / "2.png").write_text("broken")
    (tmp_path / "dog" / "1.png").write_bytes(b"")
    data = build(tmp_path)
    assert list(data.train.names) == ["cat/1.png", "dog/2.png"]
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [0, 1]
    assert levels(data.train.images) == [10, 13]
    assert data.skipped == [
        (str(tmp_path / "cat/2.png"), "it is no image that Pillow reads"),
        (str(tmp_path / "dog/1.png"), "the file is empty"),
    ]


def test_skipped_files_of_both_splits_are_listed(tmp_path: Path) -> None:
    for split in ("train", "test"):
        fill(tmp_path / split, "1.png", "2.png", "3.png")
        (tmp_path / split / "3.png").touch()
        (tmp_path / split / "3.png").write_bytes(b"")
    skipped = [path for path, _ in build(tmp_path).skipped]
    assert skipped == [str(tmp_path / "train/3.png"), str(tmp_path / "test/3.png")]


def test_limit_is_fixed_even_and_blind_to_classes(tmp_path: Path) -> None:
    names = [f"{'ab'[index >= 30]}/{index:02}.png" for index in range(60)]
    fill(tmp_path / "train", *names)
    fill(tmp_path / "test", *names)
    data = build(tmp_path, limit=20)
    chosen = levels(data.train.images)
    assert ImageFolder.Config(root=str(tmp_path), size=8, limit=20).facts().images == len(chosen) == 20
    assert chosen == levels(build(tmp_path, limit=20).train.images)
    assert chosen == sorted(chosen)
    assert np.histogram(chosen, bins=3, range=(10, 70))[0].min() >= 3
    assert data.test is not None
    assert len(data.test) == 60
    assert levels(build(tmp_path, limit=1000).train.images) == list(range(10, 70))
    for path in sorted((tmp_path / "train" / "a").iterdir()):  # other classes, the same order of files
        if path.name >= "10":
            path.rename(tmp_path / "train" / "b" / path.name)
    assert levels(build(tmp_path, limit=20).train.images) == chosen


def test_resize_policies_reach_the_images(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        wide = Image.new("L", (24, 8))
        wide.paste(255, (8, 0, 16, 8))
        wide.save(tmp_path / name)
    means = {mode: build(tmp_path, resize=mode).train.images.float().mean() for mode in ("crop", "pad", "stretch")}
    assert means["crop"] == 255
    assert means["pad"] < means["stretch"] < means["crop"]


def test_other_channels_read_npy_files(tmp_path: Path) -> None:
    for index in range(3):
        np.save(tmp_path / f"{index}.npy", np.full((12, 10, 5), index * 257, np.uint16))
    fill(tmp_path, "preview.png")
    data = build(tmp_path, channels=5)
    assert data.train.images.shape == (3, 5, 8, 8)
    assert levels(data.train.images) == [0, 1, 2]
    assert len(data.mean) == 5


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    fill(tmp_path / "photos", "1.png", "2.png")
    assert list(build(Path("~/photos")).train.names) == ["1.png", "2.png"]


def test_a_missing_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        ImageFolder.Config(root="photos").facts()
    assert str(caught.value) == (
        "The image folder 'photos' does not exist or can't be reached; set data.root to an existing folder "
        f"(a relative path starts at {Path.cwd()})."
    )


def test_roots_that_can_t_even_be_asked_for(tmp_path: Path) -> None:
    for root in ("~nobody-of-that-name/photos", "x" * 5000, "nul\0byte"):
        with pytest.raises(DataError, match="does not exist or can't be reached"):
            build(Path(root))


def test_a_file_as_root(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").touch()
    with pytest.raises(DataError, match=r"photos.zip' is a file; set data.root to the folder that holds the images\."):
        build(tmp_path / "photos.zip")


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There are no images \(.jpg, .png, .webp …\) in '.*' or below it; put some"):
        ImageFolder.Config(root=str(tmp_path)).facts()
    with pytest.raises(DataError, match=r"There are no .npy files in"):
        build(tmp_path, channels=7)
    fill(tmp_path, "train/1.png", "train/2.png")
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"There are no images .* in '.*test' or below it"):
        build(tmp_path)


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    (tmp_path / "2.png").touch()
    with pytest.raises(DataError) as caught:
        build(tmp_path)
    assert str(caught.value) == (
        f"Only 0 of 2 images in '{tmp_path}' can be read ({tmp_path / '1.png'}: the file is empty); at least 2 must be."
    )


@pytest.mark.parametrize("wrong", [{"root": ""}, {"size": 4}, {"limit": 1}, {"resize": "zoom"}, {"channels": 0}])
def test_settings_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ImageFolder.Config(**{"root": "x", **wrong})


WORD = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\:\0", exclude_categories=("Cc", "Cs")),
    min_size=1,
    max_size=12,
).filter(lambda text: not text.startswith(".") and text == text.strip() and text not in ("train", "test", "val"))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(WORD, st.sets(WORD, min_size=1, max_size=3), min_size=1, max_size=4))
def test_any_names_keep_images_names_and_labels_together(layout: dict[str, set[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, expected = Path(folder), {}
        for number, (top, names) in enumerate(layout.items()):
            for name in names:
                expected[f"{top}/{name}.png"] = (40 * number, top)
                (root / top).mkdir(exist_ok=True)
                Image.new("L", (8, 8), 40 * number).save(root / top / f"{name}.png", "PNG")
        if len(expected) < 2:
            with pytest.raises(DataError, match="Only 1 of 1 images"):
                build(root)
            return
        data = build(root)
        assert list(data.train.names) == sorted(expected)
        assert levels(data.train.images) == [expected[name][0] for name in sorted(expected)]
        if len(layout) == 1:
            assert data.train.labels is None
        else:
            assert data.train.labels is not None
            found = [data.class_names[index] for index in data.train.labels]
            assert found == [expected[name][1] for name in data.train.names]


@pytest.mark.parametrize(
    ("shapes", "side"), [([(40, 30), (100, 20)], 20), ([(300, 200), (90, 400)], 64), ([(4, 30), (30, 30)], 8)]
)
def test_size_unset_follows_the_images(tmp_path: Path, shapes: list[tuple[int, int]], side: int) -> None:
    for number, shape in enumerate(shapes):
        Image.new("L", shape).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_text("broken")
    assert ImageFolder.Config(root=str(tmp_path)).facts().size == side
    assert build(tmp_path, size=None).train.images.shape == (2, 3, side, side)


@pytest.mark.parametrize("shape", [(30, 20, 5), (5, 30, 20), (20, 40, 5)])
def test_size_unset_follows_arrays_too(tmp_path: Path, shape: tuple[int, ...]) -> None:
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.zeros(shape, np.uint8))
    (tmp_path / "broken.npy").write_text("broken")
    np.save(tmp_path / "table.npy", np.zeros(7))
    assert ImageFolder.Config(root=str(tmp_path), channels=5).facts().size == 20
    assert build(tmp_path, size=None, channels=5).train.images.shape == (2, 5, 20, 20)


def test_files_of_other_kinds_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, "train/1.png", "train/2.png", "test/1.png")
    (tmp_path / "train" / "IMG_0001").write_bytes((tmp_path / "train" / "1.png").read_bytes())
    (tmp_path / "train" / "b.jpgx").touch()
    (tmp_path / "train" / ".hidden").touch()
    data = build(tmp_path)
    kinds = "2 files that aren't read as images (no extension: 1, .jpgx: 1)"
    said = f"Left out in {tmp_path / 'train'}: {kinds}; the first is IMG_0001."
    assert data.note == said
    assert data.to(torch.device("cpu")).note == said
    assert len(data.train) == 2
    assert list(data.skipped) == []
    (tmp_path / "test" / "1.png").rename(tmp_path / "test" / "1")
    with pytest.raises(
        DataError, match=r"There are no images .*test' or below it, only files of other kinds such as 1;"
    ):
        build(tmp_path)
