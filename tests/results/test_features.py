"""Features of files."""

import numpy as np
import pytest
from PIL import Image
from tiny import FACTS, learner

from imcswav.errors import DataError, RunError
from imcswav.model import Model
from imcswav.results.features import write_features


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
