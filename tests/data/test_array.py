from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from imcswav.data.array import ArrayData
from imcswav.errors import DataError

GREY = np.random.default_rng(0).integers(0, 256, (6, 12, 12), dtype=np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)


class Pairs(Dataset):
    """Map-style, as torchvision's: (PIL image, label), and no IndexError at the end."""

    def __init__(self, labels: list[object]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, object]:
        return Image.fromarray(RGB[index % 6]), self.labels[index % 6]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.from_numpy(GREY).float() / 255)


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_one_colour_image_is_no_data_set(channels: int | None) -> None:
    with pytest.raises(DataError, match="one colour image or several grey ones"):
        ArrayData.of(RGB[0], channels=channels)


@pytest.mark.parametrize("source", [GREY, GREY / 255, torch.from_numpy(GREY), GREY[..., None], list(GREY), Stream()])
def test_the_same_pixels_however_given(source: object) -> None:
    data = ArrayData.of(source)
    assert np.array_equal(data.train.images[:, 0], GREY)
    assert data.train.labels is None
    assert data.test is None
    assert list(data.train.names) == list("012345")
    assert data.mean == pytest.approx([GREY.mean() / 255])
    assert (data.facts.images, data.facts.channels, data.facts.size) == (6, 1, 12)


def test_a_dataset_of_pairs() -> None:
    data = ArrayData.of(Pairs([4, np.int64(1), torch.tensor(0), 2, 2, 2]))
    assert np.array_equal(data.train.images.permute(0, 2, 3, 1), RGB)
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [4, 1, 0, 2, 2, 2]
    assert data.train.labels.dtype == torch.int64
    images = torch.from_numpy(RGB).permute(0, 3, 1, 2)
    assert ArrayData.of(TensorDataset(images)).train.labels is None
    labelled = ArrayData.of(TensorDataset(images, torch.arange(6)))
    assert labelled.train.labels is not None
    assert labelled.train.labels.tolist() == list(range(6))
    assert torch.equal(labelled.train.images, images)


@pytest.mark.parametrize("labels", [["a"] * 6, [0.5] * 6, [None] * 6, [torch.zeros(3)] * 6])
def test_targets_that_are_no_class_are_no_ground_truth(labels: list[object]) -> None:
    assert ArrayData.of(Pairs(labels)).train.labels is None


def test_labels_can_t_influence_images_or_order() -> None:
    first, second = ArrayData.of(RGB, labels=range(6)), ArrayData.of(RGB, labels=torch.arange(6).flip(0))
    assert first.train.labels is not None
    assert second.train.labels is not None
    assert first.train.labels.tolist() == second.train.labels.tolist()[::-1]
    assert torch.equal(first.train.images, second.train.images)
    assert (first.mean, first.std) == (second.mean, second.std)
    for a, b in zip(*(data.batches(0, seed=3, batch_size=2) for data in (first, second)), strict=True):
        assert torch.equal(a.index, b.index)
        assert vars(a).keys() == {"images", "index", "subsets"}
        assert not a.subsets


def test_files_are_named_and_the_broken_listed(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path, picture in zip(paths, RGB, strict=False):
        Image.fromarray(picture).save(path)
    paths[1].write_text("broken")
    data = ArrayData.of([*map(str, paths)], labels=[7, 8, 9], size=12)
    assert list(data.train.names) == [str(paths[0]), str(paths[2])]
    assert data.skipped == [(str(paths[1]), "it is no image that Pillow reads")]
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [7, 9]
    assert np.array_equal(data.train.images.permute(0, 2, 3, 1), RGB[[0, 2]])
    assert ArrayData.of(paths).size == 64
    pairs = ArrayData.of(list(zip(paths, [7, 8, 9], strict=True)), size=12)
    assert pairs.skipped == data.skipped
    assert pairs.train.labels is not None
    assert pairs.train.labels.tolist() == [7, 9]
    mixed = ArrayData.of([str(paths[0]), Image.fromarray(RGB[2])])
    assert torch.equal(mixed.train.images, data.train.images)


def test_pillow_images_of_many_shapes_need_a_size() -> None:
    pictures = [Image.new("RGB", (20, 10)), Image.new("L", (9, 30))]
    with pytest.raises(DataError, match=r"differ in shape .*: \(3, 10, 20\) and \(3, 30, 9\); give size="):
        ArrayData.of(pictures)
    data = ArrayData.of(pictures, size=8, channels=1, resize="pad")
    assert data.train.images.shape == (2, 1, 8, 8)
    assert data.facts.resize == "pad"


def test_images_that_aren_t_square_are_cropped() -> None:
    wide = np.zeros((3, 8, 24), np.uint8)
    wide[:, :, 8:16] = 200
    assert ArrayData.of(wide).train.images.unique().tolist() == [200]
    assert ArrayData.of(wide, resize="stretch").train.images.unique().tolist() != [200]


def test_the_caller_s_array_is_not_shared() -> None:
    mine = GREY.copy()
    data = ArrayData.of(mine)
    mine[:] = 0
    assert np.array_equal(data.train.images[:, 0], GREY)


def test_the_digest_tells_pixels_and_images_in_another_order() -> None:
    given = [GREY, GREY[::-1], GREY.transpose(0, 2, 1), GREY[:, ::-1], np.roll(GREY, 1, axis=2), GREY // 2, GREY[:5]]
    digests = [ArrayData.of(images.copy()).digest() for images in given]
    assert len(set(digests)) == len(given)
    assert ArrayData.of(GREY / 255).digest() == digests[0]


def test_without_images() -> None:
    message = r"The images of this recipe are handed over from Python: imcswav.run\(recipe, data=images\)\."
    for act in (ArrayData.Config().facts, ArrayData.Config().build):
        with pytest.raises(DataError, match=message):
            act()


@pytest.mark.parametrize(
    ("source", "labels", "message"),
    [
        (GREY[:1], None, "There is only one image to cluster; give at least two."),
        ([], None, "There are no images: the list or array is empty; give at least one."),
        (np.full((4, 8, 8), np.nan), None, "there are NaN or infinite values; remove them."),
        (GREY[0], None, "the shape (12, 12) is none of"),
        (
            GREY.astype(np.int32),
            None,
            "values of type int32 are no pixels; give uint8, or floats from 0 to 1.",
        ),
        ("photos", None, "A str can't be taken as images"),
        ([None, GREY[0]], None, "The NoneType can't be used as an image"),
        ({"images": GREY}, None, "A dict can't be taken as images"),
        ([(GREY[0], 1, 2)] * 2, None, "An item has 3 parts; items are images or pairs (image, label)."),
        (["no/1.png", "no/2.png"], None, "None of 2 files can be read (no/1.png: the file is not there"),
        (GREY, [1, 2], "Labels have to be 6 integers, one an image; these have type int64 and shape (2,)."),
        (GREY, np.zeros(6), "Labels have to be 6 integers, one an image; these have type float64"),
    ],
)
def test_what_can_t_be_clustered(source: object, labels: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        ArrayData.of(source, labels)
    assert message in str(caught.value)
