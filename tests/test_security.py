"""Nothing that is read runs code: a pickle that would leave a file is handed to everything that reads one."""

import pickle
import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import blobs, short

import imcswav
from imcswav.backbones.timm import Timm
from imcswav.build import build_run
from imcswav.clustering.store import load_unedited
from imcswav.data.array import ArrayData
from imcswav.data.numpy_arrays import NumpyData
from imcswav.errors import ImcswavError
from imcswav.feature_cache import FeatureCache
from imcswav.k_choice.sources import _of_archive
from imcswav.recipe.files import load_recipe
from imcswav.report.projection import _known
from imcswav.weights import read_weights


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture
def trap(tmp_path):
    """Something malicious; that it did nothing is looked at when the test ends, and that it could have."""
    sprung = tmp_path / "sprung"
    yield Trap(sprung)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()


def written(trap, path, how):
    """The trap in a file, as torch writes it (both ways), as a bare pickle, or among NumPy's arrays."""
    if how == "npz":
        np.savez(path, features=np.array([trap], dtype=object), probabilities=np.array([trap], dtype=object), key="k")
    elif how == "npz of a pickle":
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("features", "probabilities", "key"):
                archive.writestr(f"{name}.npy", pickle.dumps(trap))
    elif how == "pickle":
        path.write_bytes(pickle.dumps(trap))
    else:
        torch.save({"state_dict": trap}, path, _use_new_zipfile_serialization=how == "torch")
    return path


PICKLES = ["torch", "torch before 1.6", "pickle"]


@pytest.mark.parametrize("how", PICKLES)
def test_as_checkpoint(tiny, tmp_path, trap, how):
    data = ArrayData.of(blobs()[0])
    trainer, _ = build_run(load_recipe(short(tiny), {"data.name": "array"}), out=tmp_path / "run", data=data)
    trainer.run.checkpoints.mkdir()
    written(trap, trainer.run.checkpoints / "step-000000001.pt", how)
    with pytest.raises(ImcswavError, match="no checkpoint that can be read"):
        imcswav.resume(tmp_path / "run", data=data)


@pytest.mark.parametrize("how", PICKLES)
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors", "weights.npz"])
def test_as_starting_weights(tmp_path, trap, how, name):
    with pytest.raises(ImcswavError, match="can't be read"):
        read_weights(written(trap, tmp_path / name, how), "")


@pytest.mark.parametrize("how", PICKLES)
def test_by_an_argument_of_timm(tmp_path, trap, how):
    path = written(trap, tmp_path / "weights.pt", how)
    with pytest.raises(RuntimeError, match="weights_only=True blocked"):
        Timm.create(
            channels=3, image_size=32, model="test_resnet", pretrained=False, arguments={"checkpoint_path": str(path)}
        )  # fmt: skip


@pytest.mark.parametrize("how", PICKLES)
def test_as_model(tmp_path, trap, how):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"format": 1}')
    written(trap, tmp_path / "model" / "weights.safetensors", how)
    with pytest.raises(ImcswavError, match="holds no readable model"):
        imcswav.load(tmp_path)


@pytest.mark.parametrize("how", ["npz", "npz of a pickle", "pickle"])
def test_as_arrays(tmp_path, trap, how):
    path = written(trap, tmp_path / "features.npz", how)
    with pytest.raises(ImcswavError, match="no array 'features'"):
        _of_archive(path)
    with pytest.raises(ImcswavError, match="can't be"):
        NumpyData.Config(file=str(path), images="features").build()
    (tmp_path / "clustering").mkdir()
    (tmp_path / "clustering" / "images.json").write_text('{"format": 1}')
    path.rename(tmp_path / "clustering" / "arrays.npz")
    with pytest.raises(ImcswavError, match="no readable clustering"):
        load_unedited(tmp_path)
    assert _known(tmp_path / "clustering" / "arrays.npz", "k", ["features"]) is None


def test_as_cached_feature(tmp_path, trap):
    path, key = tmp_path / "features.sqlite", b"k" * 16
    FeatureCache(path).close()
    content = pickle.dumps(trap)
    content += b"\0" * (-len(content) % 4)
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO features VALUES (?, ?)", (key, content))
    (row,) = FeatureCache(path).get([key])
    assert row.dtype == np.float32  # numbers of no sense, and nothing else
