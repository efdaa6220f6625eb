"""Features of files."""

import numpy as np
import pytest
from PIL import Image
from tiny import FACTS, learner

import imcswav
from imcswav.errors import DataError, RunError
from imcswav.model import Model
from imcswav.results.features import run_features, write_features


@pytest.fixture
def run(tmp_path):
    Model(learner().eval(), facts=FACTS, clusters=3).save(tmp_path / "run" / "model")
    return tmp_path / "run"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def test_features_probabilities_and_paths(run, photos, tmp_path):
    done = write_features(run, [photos / "2.png", photos], tmp_path / "feats.npz")
    paths = [str(photos / name) for name in ("2.png", "0.png", "1.png", "2.png")]
    with np.load(tmp_path / "feats.npz") as found:
        assert set(found) == {"features", "paths", "probabilities"}
        assert found["paths"].tolist() == paths
        assert found["features"].dtype == found["probabilities"].dtype == np.float32
        model = Model.load(run)
        assert np.allclose(found["features"], model.transform(paths), atol=1e-6)
        assert np.allclose(found["probabilities"], model.predict_proba(paths), atol=1e-6)
    assert done.rows == 4
    assert "broken.jpg" in (tmp_path / "feats.skipped.csv").read_text()


def test_a_model_that_assigns_nothing_has_features(photos, tmp_path):
    from tiny import SETTINGS

    heads = {key: value for key, value in SETTINGS["heads"].items() if key != "classifier"}
    Model(learner(heads=heads, losses=[{"name": "swav"}]).eval(), facts=FACTS, clusters=3).save(tmp_path / "run")
    write_features(tmp_path / "run", [photos], tmp_path / "any.name")
    with np.load(tmp_path / "any.name") as found:
        assert set(found) == {"features", "paths"}


def test_nothing_is_overwritten_and_nothing_is_left_by_a_mistake(run, photos, tmp_path):
    (tmp_path / "there.npz").write_text("mine")
    with pytest.raises(RunError, match="not overwritten"):
        write_features(run, [photos], tmp_path / "there.npz")
    with pytest.raises(DataError, match="None of the 1 files"):
        write_features(run, [photos / "broken.jpg"], tmp_path / "none.npz")
    assert (tmp_path / "there.npz").read_text() == "mine"
    assert not (tmp_path / "none.npz").exists()


@pytest.mark.parametrize("train_on", ["train", "train+test"])
def test_features_of_a_run_are_those_of_the_images_it_is_scored_on(tiny, tmp_path, train_on):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (48, 8, 8), dtype=np.uint8), np.arange(48) % 3
    for folder, rows in (("train", slice(0, 40)), ("test", slice(40, 48))):
        for number, (image, label) in enumerate(zip(images[rows], labels[rows], strict=True)):
            (place := tmp_path / "data" / folder / f"class{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{number}.png")
    tiny["data"] = {"name": "image_folder", "root": str(tmp_path / "data"), "size": 8, "channels": 1}
    tiny["trainer"] |= {"epochs": 1, "batch_size": 16}
    tiny["evaluation"] = {"train_on": train_on}
    run = imcswav.run(tiny, out=tmp_path / "run", warn=lambda problem: None)
    found = run_features(run.path)
    assert len(found.features_NF) == len(found.names) == {"train": 8, "train+test": 48}[train_on]
    assert found.class_names == ("class0", "class1", "class2")
    data = imcswav.load_recipe(tiny).data.build()
    expected = run.load().transform(data.test.images.numpy())
    np.testing.assert_allclose(found.features_NF[-8:], expected, atol=1e-5)
    assert found.labels_N[-8:].tolist() == data.test.labels.tolist()


def test_features_of_no_run(tmp_path):
    with pytest.raises(RunError, match="no run folder"):
        run_features(tmp_path)
