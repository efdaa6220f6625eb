"""ImageClustering: what it learns from which X."""

import warnings

import numpy as np
import pytest
import torch
from estimator_case import DIGITS, PIXELS, RECIPE, estimator
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

import imcswav
from imcswav.errors import DataError, RecipeError, RunError


class Pairs(Dataset):
    """Images with labels."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], int(self.labels[index])


@pytest.fixture(scope="module")
def fitted():
    return estimator().fit(PIXELS)


def test_it_is_a_run(fitted, tmp_path):
    result = imcswav.run(RECIPE, {"clusters": 3, "seed": 0, "trainer.device": "cpu"}, out=tmp_path / "run", data=PIXELS)
    model = result.load("cpu")
    assert np.array_equal(fitted.features_, model.transform(PIXELS))
    assert np.array_equal(fitted.labels_, model.predict(PIXELS))
    assert np.array_equal(fitted.predict_proba(PIXELS), model.predict_proba(PIXELS))
    assert fitted.labels_.dtype == np.int64
    assert fitted.n_clusters_ == len(set(fitted.labels_.tolist()))
    assert fitted.seed_ == 0


def test_what_fit_found_is_what_predict_and_transform_give(fitted):
    assert np.array_equal(fitted.predict(PIXELS), fitted.labels_)
    assert np.array_equal(fitted.transform(PIXELS), fitted.features_)
    assert np.array_equal(fitted.predict_proba(PIXELS).argmax(1), fitted.labels_)
    assert np.allclose(fitted.predict_proba(PIXELS[:7]).sum(1), 1, atol=1e-5)
    assert np.array_equal(estimator().fit_predict(PIXELS), fitted.labels_)


def test_the_range_seen_by_fit_is_that_of_the_pixels(fitted):
    digits = estimator().fit(DIGITS)
    assert digits.value_range_ == (0.0, 16.0)
    assert fitted.value_range_ is None
    for same in (DIGITS, DIGITS.astype(np.int64), DIGITS.astype(np.uint8), torch.from_numpy(DIGITS).half()):
        assert np.array_equal(digits.transform(same), fitted.features_)
    assert np.array_equal(digits.transform(DIGITS[:9]), digits.transform(np.where(DIGITS == 16, 99, DIGITS)[:9]))
    shifted = estimator().fit(DIGITS.astype(np.int64) - 20)
    assert shifted.value_range_ == (-20.0, -4.0)
    assert np.array_equal(shifted.features_, fitted.features_)


def test_floats_from_0_to_1_are_pixels_as_everywhere(fitted):
    part = estimator().fit(PIXELS / 510)  # not stretched to white
    assert part.value_range_ is None
    assert np.array_equal(estimator().fit(PIXELS / 255).features_, fitted.features_)
    assert not np.array_equal(part.features_, fitted.features_)
    with pytest.raises(DataError, match=r"0 … 1"):
        fitted.predict(DIGITS)
    assert estimator().fit(np.full((40, 8, 8), 7.0)).value_range_ == (7.0, 7.0)


def test_every_form_of_grey_images(fitted, tmp_path):
    pictures = [Image.fromarray(image) for image in PIXELS]
    paths = [tmp_path / f"{number}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    grey = {"settings": {"data.channels": 1, "data.size": 8}}
    labels = np.arange(len(PIXELS)) % 7
    forms = [
        PIXELS[:, None], PIXELS[..., None], PIXELS.reshape(-1, 64),
        torch.from_numpy(PIXELS), list(PIXELS), pictures, paths, list(map(str, paths)), np.array(list(map(str, paths))),
        np.array(list(map(str, paths)))[:, None],
        Pairs(pictures, labels), list(zip(pictures, labels, strict=True)), Pairs(PIXELS, labels),
    ]  # fmt: skip
    for form in forms:
        found = estimator(**grey).fit(form)
        assert np.array_equal(found.features_, fitted.features_)
        assert np.array_equal(found.transform(form), fitted.features_)
        assert np.array_equal(fitted.transform(form), fitted.features_)
    for numbers in (PIXELS.tolist(), PIXELS.reshape(-1, 64).tolist()):  # lists know no uint8
        found = estimator(**grey).fit(numbers)
        assert found.value_range_ == (0.0, 255.0)
        assert np.array_equal(found.transform(numbers), fitted.features_)


def test_colour_images_and_flat_ones(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (40, 9, 9, 3), dtype=np.uint8)
    last = estimator().fit(colour)
    first = estimator().fit(colour.transpose(0, 3, 1, 2))
    flat = estimator(image_shape=(9, 9, 3)).fit(colour.reshape(40, -1))
    open_shape = estimator(image_shape=(-1, 9, 3)).fit(colour.reshape(40, -1))
    for other in (first, flat, open_shape):
        assert np.array_equal(other.features_, last.features_)
    assert flat.n_features_in_ == 243
    assert not hasattr(last, "n_features_in_")
    assert not hasattr(flat.fit(colour), "n_features_in_")


@pytest.mark.parametrize("count", [2, 3, 4])
def test_any_number_of_grey_images_goes_through_a_colour_network(count):
    grey = np.random.default_rng(0).integers(0, 256, (40, 9, 9), dtype=np.uint8)
    found = estimator(settings={"data.channels": 3}).fit(grey)
    assert np.array_equal(found.predict(grey[:count]), found.labels_[:count])
    with pytest.raises(DataError, match="one colour image or several grey ones"):  # each would be one of 9 × 1 pixels
        found.predict(np.zeros((5, 9, 3), np.uint8))
    found.fit(list(grey))
    assert np.array_equal(found.predict(grey[:3]), found.labels_[:3])
    colour = estimator().fit(np.random.default_rng(0).integers(0, 256, (40, 9, 9, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="one colour image or several grey ones"):
        colour.predict(grey[:3])


def test_a_colour_image_is_not_taken_for_grey_rows(fitted):
    for one in (np.zeros((9, 9, 3), np.uint8), torch.zeros(9, 9, 3)):
        with pytest.raises(DataError, match="one colour image or several grey ones"):
            fitted.predict(one)
        with pytest.raises(DataError, match="one colour image or several grey ones"):
            estimator().fit(one)


def test_tables_of_images_of_width_3_are_grey():
    table = np.random.default_rng(0).integers(0, 256, (40, 24), dtype=np.uint8)
    square = {"data.size": 8, "data.resize": "stretch"}
    found = estimator(image_shape=(8, 3), settings=square).fit(table)
    assert np.array_equal(estimator(settings=square).fit(table.reshape(40, 1, 8, 3)).features_, found.features_)
    assert np.array_equal(found.predict(table[:3]), found.labels_[:3])
    with pytest.raises(DataError, match=r"shape \(1, 8, 3\) are in colour and 1 px high, or grey and 3 px wide"):
        estimator(image_shape=(8, 3), settings={**square, "data.channels": 3}).fit(table)


def test_labels_change_nothing(fitted):
    labels = np.arange(200) % 5
    for given in (labels, labels[::-1].copy()):
        assert np.array_equal(estimator().fit(PIXELS, given).features_, fitted.features_)
        assert np.array_equal(estimator().fit(Pairs(PIXELS, given)).features_, fitted.features_)
        assert fitted.score(PIXELS, given) == fitted.score(PIXELS)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((20, 12)), r"12 values an image make no square; give image_shape"),
        (np.full((20, 8, 8), np.nan), r"NaN"),
        (np.zeros((1, 8, 8)), r"minimum of 2"),
        (np.zeros(20), r"1D array"),
    ],
)
def test_what_is_no_image_is_told(X, message):
    with pytest.raises(ValueError, match=message):
        estimator().fit(X)


def test_wrong_shapes_and_parameters_are_told():
    with pytest.raises(ValueError, match=r"64 values an image don't fill image_shape=\(3, 9\)"):
        estimator(image_shape=(3, 9)).fit(PIXELS.reshape(-1, 64))
    with pytest.raises(ValueError, match=r"'clusters', which is the parameter n_clusters"):
        estimator(settings={"clusters": 4}).fit(PIXELS)
    with pytest.raises(TypeError, match="settings has to be a dict"):
        estimator(settings="trainer.epochs=2").fit(PIXELS)
    with pytest.raises(RecipeError, match=r"trainer.epoch"):
        estimator(settings={"trainer.epoch": 4}).fit(PIXELS)
    with pytest.raises(TypeError):
        estimator(n_clusters=2.5).fit(PIXELS)
    with pytest.raises(RecipeError, match=r"8 clusters are more than the 5"):
        estimator(n_clusters=8).fit(PIXELS[:5])


def test_a_file_that_cant_be_read_is_named(tmp_path):
    Image.fromarray(PIXELS[0]).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 3 files can't be read \(.*bad\.png: .*\); leave them out"):
        estimator().fit([tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "good.png"])


def test_batches_are_no_larger_than_the_data():
    assert len(estimator(settings={"trainer.batch_size": 4096}).fit(PIXELS[:20]).labels_) == 20


def test_images_come_to_the_size_of_the_recipes_data():
    own = estimator(recipe=RECIPE | {"data": {"name": "digits", "size": 10}}).fit(PIXELS[:40])
    assert own.model_.facts.size == 10
    assert estimator(settings={"data.size": 9}).fit(PIXELS[:40]).model_.facts.size == 9
    assert estimator().fit(PIXELS[:40]).model_.facts.size == 8


def test_without_a_recipe_one_is_taken_for_the_images():
    short = {"trainer.epochs": 1, "trainer.max_steps": 1, "trainer.threads": 1}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        digits = estimator(recipe=None, settings=short).fit(DIGITS[:20].reshape(20, -1))
        small = estimator(recipe=None, settings=short).fit(np.zeros((20, 3, 12, 12)))
        larger = estimator(recipe=None, settings=short).fit(np.zeros((20, 13, 12, 1)))
    assert any("warms up" in str(warning.message) for warning in told)
    assert [found.model_.facts.size for found in (digits, small, larger)] == [12, 32, 32]
    assert [found.features_.shape[1] for found in (digits, small, larger)] == [64, 128, 128]
    assert [found.model_.views for found in (digits, small, larger)] == [8, 1, 1]


def test_a_run_is_kept_where_it_is_wanted(tmp_path, fitted):
    kept = estimator(out=tmp_path / "run").fit(PIXELS)
    assert np.array_equal(imcswav.load(tmp_path / "run", "cpu").predict(PIXELS), fitted.labels_)
    assert (tmp_path / "run" / "clusters.png").is_file()
    with pytest.raises(RunError, match="nothing is overwritten"):
        kept.fit(PIXELS)


def test_a_finished_runs_backbone_is_taken_as_it_is(tmp_path):
    first = estimator(out=tmp_path / "run").fit(PIXELS)
    frozen = estimator(recipe=None, backbone=tmp_path / "run", n_clusters=5).fit(PIXELS)
    assert np.allclose(frozen.features_, first.features_, atol=1e-5)
    assert frozen.predict_proba(PIXELS).shape == (200, 5)


def test_the_range_holds_for_lists_and_data_sets_too():
    """Values from 0 to 16 would be nearly black by the usual range."""
    digits = estimator().fit(DIGITS)
    whole = torch.from_numpy(DIGITS.astype(np.uint8))[:, None]
    pairs = [(image, 3) for image in DIGITS]
    for same in (list(DIGITS.astype(np.uint8)), list(whole), TensorDataset(whole), list(DIGITS), pairs):
        assert np.array_equal(digits.predict(same), digits.labels_)
    wide = (PIXELS.astype(np.uint16) * 257).astype(np.uint16)
    mixed = [row for pair in zip(PIXELS[::2], (PIXELS / 255)[1::2], strict=True) for row in pair]  # two types
    both = [row for pair in zip(PIXELS[::2], wide[1::2], strict=True) for row in pair]
    plain = estimator().fit(PIXELS)
    assert np.array_equal(plain.predict(mixed), plain.labels_)
    assert np.array_equal(plain.predict(both), plain.labels_)
    ragged = [*DIGITS[:-1], DIGITS[-1][:, :6]]
    assert np.array_equal(digits.predict(ragged)[:-1], digits.labels_[:-1])
    for listed in (list(DIGITS), list(torch.from_numpy(DIGITS)), ragged):
        assert estimator(settings={"data.size": 8}).fit(listed).value_range_ == (0.0, 16.0)
    assert np.array_equal(estimator().fit(list(DIGITS)).features_, digits.features_)


def test_a_list_of_two_kinds_of_black_and_white_is_refused():
    with pytest.raises(DataError, match=r"Some images are uint8, others float64 in 0 … 16, and what of those"):
        estimator().fit([*DIGITS[1:], PIXELS[0]])
    with pytest.raises(DataError, match=r"Some images are float64 in 0 … 1, others int64 in 0 … \d+, and what of"):
        estimator().fit([*(PIXELS[1:] / 255), PIXELS[0].astype(np.int64)])
    dark = estimator().fit([*DIGITS[1:], DIGITS[0] / 16])
    assert dark.value_range_ == (0.0, 16.0)
    fitted = estimator().fit([*(PIXELS[1:] / 255), PIXELS[0]])  # floats in 0 … 1 have the range of their type
    assert fitted.value_range_ is None


@pytest.mark.parametrize("wrong", [DIGITS[:1], DIGITS[:, :, 0], [3, "a"], np.full((9, 8, 8), np.nan)])
def test_a_fit_that_fails_changes_nothing(wrong):
    digits = estimator().fit(DIGITS)
    before = digits.predict(DIGITS.astype(np.uint8))
    with pytest.raises((ValueError, TypeError, DataError)):
        digits.fit(wrong)
    assert digits.value_range_ == (0.0, 16.0)
    assert np.array_equal(digits.predict(DIGITS.astype(np.uint8)), before)
