"""imcswav.run, resume and load from Python."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import imcswav
from imcswav.data.array import ArrayData
from imcswav.errors import DataError, RecipeError, RunError


@pytest.fixture
def quick(tiny):
    tiny["trainer"] |= {"max_steps": 2, "batch_size": 20}
    return tiny


@pytest.fixture
def photos(tmp_path):
    """Forty readable images and two broken files, flat, with odd names."""
    folder = tmp_path / "my photos ü"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(40):
        pixels = random.integers(0, 256, (20, 30 - number % 3, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image {number:02d}, “a”.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "empty.png").touch()
    return folder


def test_a_folder_with_broken_files(quick, photos, tmp_path):
    quick["data"] = {"name": "image_folder", "root": str(photos), "size": 16}
    warnings = []
    result = imcswav.run(quick, out=tmp_path / "run", warn=warnings.append)
    with (result.path / "skipped.csv").open(newline="", encoding="utf-8") as file:
        assert sorted(row["image"] for row in csv.DictReader(file)) == ["broken.jpg", "empty.png"]  # as below
    assert result.summary["skipped"] == 2
    assert any("2 files can't be read" in problem.message for problem in warnings)
    with (result.path / "assignments.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    assert rows[7]["image"] == "image 07, “a”.png"
    assert {row["label"] for row in rows} == {""}
    files = [photos / row["image"] for row in rows]
    assert [str(label) for label in result.load().predict(files)] == [row["cluster"] for row in rows]


def test_arrays_take_the_array_datas_settings(quick, tmp_path):
    images = np.random.default_rng(0).random((30, 3, 14, 14), dtype=np.float32)
    for number, changes in enumerate(({"data.size": 10}, ["data.size=10"])):
        result = imcswav.run(quick, changes, out=tmp_path / str(number), data=torch.from_numpy(images))
        model = result.load()
        assert (model.facts.size, model.facts.channels) == (10, 3)
        assert model.predict_proba(images).shape == (30, 3)
        assert np.allclose(model.predict_proba(images).sum(1), 1, atol=1e-5)
        assert model.transform(images).shape == (30, 8)
    assert model.backbone(torch.zeros(2, 3, 10, 10)).shape == (2, 8)


def test_a_built_data_set_keeps_its_settings(quick, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 14, 18), dtype=np.uint8)
    result = imcswav.run(quick, out=tmp_path / "run", data=ArrayData.of(images, size=9, resize="pad"))
    assert (result.load().facts.size, result.load().facts.resize) == (9, "pad")


def test_a_recipe_for_handed_over_images_says_so(quick, tmp_path):
    images = np.zeros((30, 12, 12), dtype=np.uint8)
    images[::2] = 200
    result = imcswav.run(quick, out=tmp_path / "run", data=images)
    with pytest.raises(RecipeError, match=r"handed over from Python"):
        imcswav.run(result.path / "recipe.toml", out=tmp_path / "again")


def test_resume_of_a_finished_run_changes_nothing(quick, tmp_path):
    result = imcswav.run(quick, out=tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in result.path.rglob("*")}
    assert imcswav.resume(result.path).summary == json.loads((result.path / "summary.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in result.path.rglob("*")} == before


def test_more_clusters_than_readable_images(quick, photos, tmp_path):
    quick["data"] = {"name": "image_folder", "root": str(photos), "size": 16}
    with pytest.raises(RecipeError, match="41 clusters are more than the 40 training images"):
        imcswav.run(quick, {"clusters": 41}, out=tmp_path / "run")  # 42 files are there, so only reading tells
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (np.full((10, 8, 8), np.nan), DataError, "NaN|nan|finite"),
        (np.zeros((1, 8, 8), dtype=np.uint8), DataError, "one image"),
        ([], DataError, "no images"),
        ("images", DataError, "str"),
        (np.zeros((4, 8, 8), dtype=np.uint8), RecipeError, "batch of 20 is more than the 4"),
    ],
)
def test_bad_images_are_refused_before_a_folder_is_made(quick, tmp_path, data, error, said):
    with pytest.raises(error, match=said):
        imcswav.run(quick, out=tmp_path / "run", data=data)
    assert not (tmp_path / "run").exists()


def test_an_existing_folder_is_left_alone(quick, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match="nothing is overwritten"):
        imcswav.run(quick, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_compiling_keeps_the_names_of_weights(quick, tmp_path, monkeypatch):
    """Checkpoints of compiled and plain runs are interchangeable."""
    compiled = []

    def compile_part(part, **options):
        compiled.append(getattr(part, "__name__", type(part).__name__))
        return part

    monkeypatch.setattr("torch.compile", compile_part)
    result = imcswav.run(quick, {"trainer.compile": True}, out=tmp_path / "run")
    assert compiled == ["MultiCrop", "outputs_of", "SwAV", "IMC"]
    assert not any("_orig_mod" in name for name in result.load().learner.state_dict())


def test_public_names():
    for name in imcswav.__all__:
        assert getattr(imcswav, name) is not None
        assert name in dir(imcswav)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        imcswav.nothing  # noqa: B018


def test_a_labelled_test_split_scores_without_training_labels(quick, tmp_path):
    random = np.random.default_rng(0)
    for number in range(30):
        for folder in ("train", f"test/{'ab'[number % 2]}"):
            (tmp_path / "photos" / folder).mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / folder / f"{number}.png")
    quick["data"] = {"name": "image_folder", "root": str(tmp_path / "photos")}
    quick["callbacks"]["evaluate"] = {"every": 1}
    summary = imcswav.run(quick, {"trainer.max_steps": 3}, out=tmp_path / "run").summary
    for name in ("acc", "nmi", "ari", "kmeans_acc", "acc_bn_test"):
        assert summary[name] is not None, name
    assert summary["knn"] is None  # it would need the labels of the training images
    assert summary["scored_on"] == "test (30 images)"
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["eval/acc"] for row in rows if "eval/acc" in row][-1] == pytest.approx(summary["acc"], abs=1e-6)


def test_both_protocols_are_those_of_their_settings(quick, tmp_path):
    """acc_bn_test of a run is the acc of the same run with bn_statistics = "test"."""
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    for number, image in enumerate(images):
        folder = tmp_path / "photos" / ("train" if number < 30 else "test") / str(number % 3)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    quick["data"] = {"name": "image_folder", "root": str(tmp_path / "photos")}
    runs = {
        mode: imcswav.run(quick, {"predict.bn_statistics": mode}, out=tmp_path / mode).summary
        for mode in ("train", "test")
    }
    assert runs["train"]["acc_bn_test"] == runs["test"]["acc_bn_test"] == runs["test"]["acc"]


def test_one_colour_image_is_not_taken_for_many_grey_ones(quick, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    model = imcswav.run(quick, out=tmp_path / "run", data=images).load()
    for one in (images[0], images[0].transpose(2, 0, 1)):
        with pytest.raises(DataError, match="one colour image"):
            model.predict(one)
    assert model.predict(images[:1]).shape == (1,)


def test_a_runs_recipe_works_from_every_folder(quick, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos.parent)
    quick["data"] = {"name": "image_folder", "root": photos.name}
    result = imcswav.run(quick, out=tmp_path / "run", warn=lambda problem: None)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = imcswav.run(result.path / "recipe.toml", out=tmp_path / "again", warn=lambda problem: None)
    assert (again.path / "recipe.toml").read_text() == (result.path / "recipe.toml").read_text()
    assert (again.path / "assignments.csv").read_text() == (result.path / "assignments.csv").read_text()


def test_a_folder_deleted_under_a_run_is_one_sentence(tiny, tmp_path, monkeypatch):
    from imcswav.learners.multiview import MultiView

    def remove(learner, progress):
        if progress.step == 2:
            shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr(MultiView, "after_step", remove)
    with pytest.raises(RunError, match="was deleted or moved under the run"):
        imcswav.run(tiny, out=tmp_path / "run")


def test_images_handed_over_to_a_run_of_other_data_have_its_form(tiny, tmp_path):
    result = imcswav.run(tiny, {"trainer.max_steps": 2}, out=tmp_path / "run")
    images, labels = np.zeros((30, 20, 20), np.uint8), np.arange(30) % 3
    pairs = list(zip(images, labels.tolist(), strict=True))
    assert set(imcswav.api.evaluate(result.path, data=pairs)) >= {"acc", "nmi"}
    assert imcswav.probe(result.path, "knn", data=pairs).accuracy <= 1
    (result.path / "summary.json").unlink()
    shutil.rmtree(result.path / "model")
    with pytest.raises(DataError, match="has the data 'digits', so it can't go on with images handed over"):
        imcswav.resume(result.path, data=images)


def test_an_error_of_something_else_s_is_not_the_folder_s(tiny, tmp_path, monkeypatch):
    def fail(*rest):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("imcswav.trainer.Trainer.fit", fail)
    with pytest.raises(ConnectionRefusedError):
        imcswav.run(tiny, out=tmp_path / "run")


def test_too_short_a_training_is_warned_of(quick, tmp_path):
    quick["schedule"] = {"name": "constant", "warmup_steps": 500}
    warnings = []
    imcswav.run(quick, {"heads.prototypes.freeze_steps": 50}, out=tmp_path / "run", warn=warnings.append)
    assert [problem.path for problem in warnings] == ["schedule", "heads.prototypes.freeze_steps"]
