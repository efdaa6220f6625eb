"""Both splits trained on together: what is joined, what is scored, what is written."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import blobs, short

import imcswav
from imcswav.api import evaluate
from imcswav.build import build_run, restore_run
from imcswav.check import check_recipe
from imcswav.data import DataFacts, Split
from imcswav.data.array import ArrayData
from imcswav.data.image_folder import ImageFolder
from imcswav.errors import DataError, RecipeError, RunError
from imcswav.imaging.prefetch import Fetched, InMemory, pixel_digest
from imcswav.metrics.acc import accuracy
from imcswav.protocol import Joined, JoinedImages, describe, origins, split_name, training_facts
from imcswav.recipe.files import load_recipe
from imcswav.runs import RunFolder

BOTH = {"evaluation.train_on": "train+test"}


def two_splits(test_names=None, labelled=(True, True)):
    pixels, labels = blobs(40)
    data = ArrayData.of(pixels, labels=labels if labelled[0] else None)
    pixels, labels = blobs(20, seed=1)
    names = test_names or [f"t{number}" for number in range(20)]
    known = torch.from_numpy(labels) if labelled[1] else None
    data.test = Split(torch.from_numpy(pixels)[:, None], names, known)
    return data


@pytest.fixture
def folder(tmp_path):
    """Thirty training and twelve test images of two classes, one test file broken."""
    pixels, labels = blobs(42, size=12)
    for number in range(42):
        place = tmp_path / "photos" / ("train" if number < 30 else "test") / "ab"[labels[number]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[number]).save(place / f"{number:02d}.png")
    (tmp_path / "photos" / "test" / "a" / "broken.png").write_bytes(b"no image")
    return tmp_path / "photos"


def test_images_names_labels_and_subsets_are_put_together():
    source = two_splits()
    source.train.subsets = {"few": torch.arange(40) < 5}
    joined = Joined(source)
    assert joined.test is None
    assert torch.equal(joined.train.images, torch.cat([source.train.images, source.test.images]))
    assert joined.train.names == [*map(str, range(40)), *(f"t{number}" for number in range(20))]
    assert torch.equal(joined.train.labels, torch.cat([source.train.labels, source.test.labels]))
    assert joined.train.subsets["few"].nonzero().flatten().tolist() == [0, 1, 2, 3, 4]
    assert len(joined.train.subsets["few"]) == 60
    assert (joined.mean, joined.std) == (source.mean, source.std)
    assert joined.source is None  # or the images would be held twice
    assert (joined.facts.images, joined.facts.test_images) == (60, 0)
    assert joined.digest() != source.digest()
    assert origins(joined.train, "train") == ["train"] * 40 + ["test"] * 20
    assert (split_name(joined.train, "train"), split_name(source.train, "train")) == ("train+test", "train")


def test_names_stay_unique():
    joined = Joined(two_splits(test_names=[str(number) for number in range(20)]))
    assert len(set(joined.train.names)) == 60
    assert (joined.train.names[3], joined.train.names[43]) == ("train/3", "test/3")


def test_a_split_without_labels_has_them_unknown():
    labels = Joined(two_splits(labelled=(False, True))).train.labels
    assert labels[:40].tolist() == [-1] * 40
    assert labels[40:].tolist() == blobs(20, seed=1)[1].tolist()
    assert Joined(two_splits(labelled=(False, False))).train.labels is None


def test_images_on_the_host_are_read_from_their_own_tensor():
    source = two_splits()
    everything = Joined(source).train.images
    cpu = torch.device("cpu")
    images = JoinedImages([InMemory(source.train.images, cpu), InMemory(source.test.images, cpu)])
    order = torch.tensor([59, 0, 41, 39, 40, 7])
    assert images.shape == everything.shape
    assert torch.equal(images[order], everything[order])
    assert torch.equal(torch.cat(list(images.split(7))), everything)
    assert images.checksum() == "+".join(pixel_digest(x) for x in (source.train.images, source.test.images))


def test_streamed_splits_are_joined_and_lose_what_can_t_be_read(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    decoded = Joined(ImageFolder.create(root=str(folder), size=12))
    streamed = Joined(ImageFolder.create(root=str(folder), size=12, placement="stream")).to(torch.device("cpu"))
    assert isinstance(streamed.train.images, Fetched)
    assert len(streamed.train) == 43
    readable = streamed.readable()
    assert readable.train.names == decoded.train.names
    assert torch.equal(readable.train.images[torch.arange(42)], decoded.train.images)
    assert torch.equal(readable.train.labels, decoded.train.labels)
    assert readable.train.first == 30
    streamed.train.images = streamed.train.images.to(torch.device("meta"))
    assert streamed.readable().train.images.device.type == "meta"
    assert [path.rsplit("/", 1)[-1] for path, _ in streamed.skipped] == ["broken.png"]


def test_a_joined_run_that_streams_says_so_in_its_recipe(tiny, folder, tmp_path, monkeypatch):
    """Resumed where memory suffices, it goes on with the same images."""
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("imcswav.imaging.placement.available_memory", lambda: 1.0)
    tables = short(tiny) | {"data": {"name": "image_folder", "root": str(folder), "size": 12}}
    trainer, _ = build_run(load_recipe(tables, BOTH), out=tmp_path / "run")
    assert "cache" in trainer.data.note
    assert RunFolder(trainer.run.path).recipe().data.placement == "stream"


def test_facts_count_what_is_trained_on(tiny, folder):
    tiny["data"] = {"name": "image_folder", "root": str(folder), "size": 12}
    recipe = load_recipe(tiny, BOTH)
    assert training_facts(recipe, recipe.data.facts()).images == 43
    assert training_facts(load_recipe(tiny), recipe.data.facts()).images == 30
    assert training_facts(recipe, DataFacts(30, 3, 12)).images is None  # a data set that doesn't tell


def test_without_a_test_split_it_is_refused(tiny, tmp_path):
    recipe = load_recipe(tiny, BOTH)
    (problem,) = [one for one in check_recipe(recipe) if one.severity == "error"]
    assert problem.path == "evaluation.train_on"
    with pytest.raises(RecipeError, match="no test split"):
        imcswav.run(tiny, BOTH, out=tmp_path / "run")
    with pytest.raises(DataError, match="no test split"):
        Joined(ArrayData.of(blobs()[0]))
    assert not (tmp_path / "run").exists()


def test_every_image_is_trained_on_and_scored(tiny, tmp_path):
    result = imcswav.run(short(tiny), BOTH, out=tmp_path / "run", data=two_splits())
    summary = result.summary
    assert summary["protocol"] == "trained and scored on train+test"
    assert summary["trained_on"] == summary["scored_on"] == "train+test (60 images)"
    assert summary["steps"] == 12  # 60 images in batches of 10, two epochs
    assert summary["acc_bn_test"] is None
    with (result.path / "assignments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["train"] * 40 + ["test"] * 20
    labels, clusters = (np.array([int(row[key]) for row in rows]) for key in ("label", "cluster"))
    assert summary["acc"] == pytest.approx(accuracy(labels, clusters), abs=1e-6)
    again = evaluate(result.path, data=two_splits())
    assert again["acc"] == pytest.approx(summary["acc"], abs=1e-6)
    assert again["knn"] == pytest.approx(summary["knn"], abs=1e-6)


def test_the_usual_protocol_is_said_too(tiny, tmp_path):
    summary = imcswav.run(short(tiny), out=tmp_path / "two", data=two_splits()).summary
    assert summary["protocol"] == "trained on train, scored on test"
    assert describe("train", "train") == "trained and scored on train"


def test_a_resumed_run_keeps_its_protocol(tiny, tmp_path):
    result = imcswav.run(short(tiny), BOTH, out=tmp_path / "run", data=two_splits())
    (result.path / "summary.json").unlink()
    again = imcswav.resume(result.path, data=two_splits()).summary
    timing = {"seconds", "cpu_seconds", "images_per_second"}
    assert {key: value for key, value in again.items() if key not in timing} == {
        key: value for key, value in result.summary.items() if key not in timing
    }
    recipe = result.path / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('train_on = "train+test"', 'train_on = "train"'))
    with pytest.raises(RunError, match="training images are not those"):
        restore_run(RunFolder(result.path), data=two_splits())


def test_the_finished_table_says_the_protocol(tiny, tmp_path, capsys):
    from imcswav import console

    console.finished(imcswav.run(short(tiny), BOTH, out=tmp_path / "run", data=two_splits()))
    assert "Protocol: trained and scored on train+test; train+test (60 images)" in capsys.readouterr().out


def test_expected_figures_change_nothing_in_a_run(tiny, tmp_path):
    tiny["expected"] = {"acc": 0.5}
    trainer, _ = build_run(load_recipe(short(tiny)), out=tmp_path / "run", data=two_splits())
    assert trainer.recipe.expected is None
    assert "expected" not in (tmp_path / "run" / "recipe.toml").read_text()
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["seed"] == 0
