import numpy as np
import pytest
import torch
from tiny import blobs, images

import imcswav
from imcswav.data import DataFacts
from imcswav.data.array import ArrayData
from imcswav.errors import RecipeError
from imcswav.learners.frozen import Frozen

NET = {"name": "small_resnet", "stem": 4, "widths": [6, 8], "strides": [1, 2]}
FACTS = DataFacts(64, 3, 12, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3))
RECIPE = {
    "name": "frozen", "clusters": 2, "data": {"name": "array"}, "learner": {"name": "frozen"}, "backbone": NET,
    "clusterer": {"name": "kmeans"}, "trainer": {"epochs": 0, "device": "cpu"}, "predict": {"bn_statistics": "running"},
    "callbacks": {"tensorboard": {"enabled": False}},
}  # fmt: skip


def frozen(facts=FACTS, **changes):
    torch.manual_seed(0)
    return Frozen.Config.model_validate({"backbone": NET, **changes}).build(facts=facts, clusters=2).eval()


def data():
    pixels, labels = blobs()
    return ArrayData.of(pixels, labels=labels)


@torch.no_grad()
def test_features_are_the_backbones_of_normalised_images():
    learner, pictures = frozen(), images(4)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (FACTS.mean, FACTS.std))
    expected = learner.backbone((pictures.float() / 255 - mean) / std)
    torch.testing.assert_close(learner.embed(pictures).features, expected)
    assert learner.embed(pictures).probabilities is None


def test_mean_and_std_are_the_settings_else_the_weights_else_the_datas():
    own = {"name": "timm", "model": "test_vit"}
    assert frozen(mean=[0.1] * 3, std=[0.9] * 3).normalization()[0] == pytest.approx((0.1,) * 3)
    assert frozen().normalization()[0] == pytest.approx(FACTS.mean)
    pretrained = Frozen.Config.model_validate({"backbone": {**own, "pretrained": True}}).backbone
    assert pretrained.normalization(3) == ((0.5,) * 3, (0.5,) * 3)
    assert pretrained.normalization(1) is None
    assert pretrained.restored().normalization(3) is None


def test_what_lasts_is_told_apart_by_all_that_makes_features():
    plain = frozen()
    moved = frozen()
    with torch.no_grad():
        next(moved.backbone.parameters())[0] += 1
    other_size = frozen(DataFacts(64, 3, 16, FACTS.mean, FACTS.std))
    digests = [one.lasting() for one in (plain, moved, other_size, frozen(mean=[0.1] * 3, std=[0.9] * 3))]
    assert len(set(digests)) == 4
    assert frozen().lasting() == plain.lasting()


def test_a_run_without_training_leaves_a_model_that_assigns(tmp_path, monkeypatch):
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    done = imcswav.run(RECIPE, out=tmp_path / "run", data=data())
    assert (done.summary["steps"], done.summary["seconds"], done.summary["acc_bn_test"]) == (0, 0, None)
    assert done.summary["acc"] == 1.0
    model = done.load("cpu")
    pixels, labels = blobs()
    np.testing.assert_array_equal(model.predict(pixels) == model.predict(pixels)[0], labels == labels[0])
    again = imcswav.run(RECIPE, out=tmp_path / "again", data=data())
    assert (again.path / "assignments.csv").read_text() == (done.path / "assignments.csv").read_text()


def test_a_run_s_features_are_the_run_s_on_other_images_too(tiny, tmp_path, monkeypatch):
    """Also its mean and std, which new images haven't, and its batch-norm statistics."""
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    pixels, _ = blobs()
    tiny |= {"data": {"name": "array"}}
    views = {"views.mean": [0.9], "views.std": [0.3]}
    steps = {"trainer.max_steps": 4, "trainer.batch_size": 16}
    first = imcswav.run(tiny, {**steps, **views}, out=tmp_path / "first", data=data()).path
    recipe = {**RECIPE, "backbone": tiny["backbone"], "init": {"run": str(first)}, "predict": {}}
    other = ArrayData.of(pixels // 2)
    done, plain = imcswav.run(recipe, out=tmp_path / "run", data=other), imcswav.load(first, "cpu")
    np.testing.assert_allclose(done.load("cpu").transform(pixels), plain.transform(pixels), atol=1e-6)
    assert done.summary["bn_statistics"] == "running"
    own = imcswav.run(
        recipe, {"learner.mean": [0.1], "predict.bn_statistics": "train"}, out=tmp_path / "own", data=other
    )
    assert own.load("cpu").learner.normalization() == (pytest.approx((0.1,)), pytest.approx((0.3,)))
    assert own.summary["bn_statistics"] == "train"


def test_views_that_change_nothing_are_warned_of(tmp_path):
    told = []
    imcswav.run(RECIPE, {"predict.views": 4}, out=tmp_path / "run", data=data(), warn=told.append)
    assert [str(one) for one in told if one.path == "predict.views"] == [
        "predict.views: the learner 'frozen' assigns whole images, once each. Leave it at 1."
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainer.epochs": 3}, "has nothing to train"),
        ({"clusterer": None}, "no clusters of its own"),
        ({"learner.mean": [0.5, 0.5]}, "2 values for 1 channels"),
        ({"learner.std": [0.0]}, "greater than 0"),
    ],
)
def test_what_is_wrong_is_known_before_anything_is_built(change, said, tmp_path):
    with pytest.raises(RecipeError, match=said):
        imcswav.run(RECIPE, change, out=tmp_path / "run", data=data())
    assert not (tmp_path / "run").exists()
