import csv
import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import FACTS, learner

from imcswav import console
from imcswav.errors import DataError, ImcswavError, RunError
from imcswav.model import Model
from imcswav.results.predict import predict_files


@pytest.fixture
def run(tmp_path):
    Model(learner().eval(), facts=FACTS, clusters=3).save(tmp_path / "run" / "model")
    return tmp_path / "run"


@pytest.fixture
def folder(tmp_path):
    """Five readable images of all sorts, two that are broken, and a text."""
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    Image.fromarray(pixels[..., :3]).save(folder / "b.png")
    Image.fromarray(pixels[..., 0]).save(folder / "grey.png")
    Image.fromarray(pixels).save(folder / "rgba.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(folder / "deep16.png")
    Image.fromarray(pixels[..., :3]).save(folder / "deeper" / "a, ü.jpg")
    (folder / "broken.jpg").write_bytes(b"no image at all")
    (folder / "torn.png").write_bytes((folder / "b.png").read_bytes()[:100])
    (folder / "notes.txt").write_text("not an image")
    return folder


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_readable_file_and_the_others_apart(run, folder, tmp_path):
    done = predict_files(run, [folder], tmp_path / "labels.csv")
    found = rows(tmp_path / "labels.csv")
    names = ["b.png", "deep16.png", "deeper/a, ü.jpg", "grey.png", "rgba.png"]
    assert [row["image"] for row in found] == [f"{folder.as_posix()}/{name}" for name in names]
    model = Model.load(run)
    for row in found:
        probabilities = model.predict_proba([row["image"]])[0]
        assert int(row["cluster"]) == probabilities.argmax()
        assert float(row["confidence"]) == pytest.approx(probabilities.max(), abs=1e-4)
    skipped = rows(tmp_path / "labels.skipped.csv")
    assert [row["image"] for row in skipped] == [f"{folder.as_posix()}/{name}" for name in ("broken.jpg", "torn.png")]
    assert all(row["reason"] for row in skipped)
    assert (done.rows, len(done.skipped), done.skipped_file) == (5, 2, tmp_path / "labels.skipped.csv")


def test_what_folders_hold_besides_images_is_told(run, folder, tmp_path, capsys):
    done = predict_files(run, [folder, folder / "b.png"], tmp_path / "labels.csv")
    assert done.others == [folder / "notes.txt"]
    console.predicted(done)
    assert f"Left out: 1 file that isn't read as an image (.txt: 1); the first is {folder}/notes.txt." in "".join(
        capsys.readouterr().out.splitlines()
    )


def test_twice_is_identical(run, folder, tmp_path):
    for name in ("one.csv", "two.csv"):
        predict_files(run, [folder], tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_single_files_in_the_order_given_and_no_list_of_nothing(run, folder, tmp_path):
    done = predict_files(run, [folder / "rgba.png", folder / "b.png"], tmp_path / "labels.csv")
    assert [row["image"].split("/")[-1] for row in rows(done.out)] == ["rgba.png", "b.png"]
    assert not done.skipped_file.exists()


@pytest.mark.parametrize("name", ["labels.csv", "labels.skipped.csv"])
def test_nothing_is_overwritten(run, folder, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match=f"{name} exists and is not overwritten"):
        predict_files(run, [folder], tmp_path / "labels.csv")
    assert (tmp_path / name).read_text() == "mine"


def test_what_can_not_be_done_is_said(run, folder, tmp_path):
    out = tmp_path / "labels.csv"
    with pytest.raises(RunError, match="does not exist; make it first"):
        predict_files(run, [folder], tmp_path / "no" / "labels.csv")
    with pytest.raises(RunError, match="holds no readable model"):
        predict_files(folder, [folder], out)
    with pytest.raises(DataError, match="no file or folder"):
        predict_files(run, [tmp_path / "missing"], out)
    with pytest.raises(DataError, match="None of the 1 files can be read"):
        predict_files(run, [folder / "broken.jpg"], out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="There are no images in"):
        predict_files(run, [tmp_path / "empty"], out)
    (tmp_path / "empty" / "a.HEIC").touch()
    with pytest.raises(DataError, match=r"empty, only 1 file that isn't read as an image \(.heic: 1\); give"):
        predict_files(run, [tmp_path / "empty"], out)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.toml").touch()
    with pytest.raises(RunError, match="isn't finished and has no model yet; end it first: imcswav resume"):
        predict_files(tmp_path / "begun", [folder], out)
    with pytest.raises(ImcswavError, match="Device 'warp'"):
        predict_files(run, [folder], out, device="warp")
    assert not out.exists()


def test_a_name_that_is_no_utf8_is_written_escaped(run, folder, tmp_path):
    odd = bytes(tmp_path) + b"/odd\xff.png"
    try:
        with open(odd, "wb") as file:
            file.write((folder / "b.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    predict_files(run, [Path(os.fsdecode(odd))], tmp_path / "labels.csv")
    assert rows(tmp_path / "labels.csv")[0]["image"].endswith("odd\\xff.png")


def test_other_channels_come_from_npy_files(tmp_path):
    facts = dataclasses.replace(FACTS, channels=5, mean=(0.5,) * 5, std=(0.2,) * 5)
    Model(learner().config.build(facts=facts, clusters=3).eval(), facts=facts, clusters=3).save(tmp_path / "run")
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "x.npy", np.zeros((12, 12, 5), dtype=np.uint8))
    assert predict_files(tmp_path / "run", [tmp_path / "data"], tmp_path / "labels.csv").rows == 1
