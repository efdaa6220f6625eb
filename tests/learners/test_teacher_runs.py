"""Runs with a teacher: resumed, exported, on shuffled labels."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_trainer import StopAfter, assert_same, weights
from tiny import TAUGHT, blobs, short_run

import imcswav
from imcswav.build import build_run
from imcswav.data.array import ArrayData
from imcswav.evaluate import evaluation_model
from imcswav.recipe.files import load_recipe

QUEUE = 1000
"""Full within the fourth of 21 steps of 256 images."""


@pytest.fixture
def taught(tiny):
    """A teacher, a queue, and a predictor with noise on its input."""
    predictor = {"name": "mlp", "input": "projection", "hidden": [8], "norm": "batch", "width": 8, "noise": 0.1}
    tiny["heads"] |= {"predictor": predictor}
    tiny["losses"] = copy.deepcopy(TAUGHT["losses"])
    tiny["losses"][0] |= {"queue": QUEUE}
    return tiny | {"learner": {"teacher": {"momentum": 0.9}}}


@pytest.mark.parametrize("stop", [3, 9])  # before the queue is full, and after
def test_resumed_run_is_bit_identical(taught, tmp_path, stop):
    imcswav.run(taught, out=tmp_path / "whole")
    trainer, _ = build_run(load_recipe(taught), out=tmp_path / "stopped")
    StopAfter(trainer, stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.learner.losses[0].queue.full is (stop == 9)
    imcswav.resume(tmp_path / "stopped")
    whole, stopped = (weights(tmp_path / run) for run in ("whole", "stopped"))
    assert_same(whole, stopped)
    assert whole["losses.0.queue.rows"].shape == (2, QUEUE, 8)
    assert int(whole["losses.0.queue.pushed"]) == 21 * 256
    assert not torch.equal(whole["teacher.backbone.layers.0.weight"], whole["backbone.layers.0.weight"])


def test_labels_change_nothing(taught, tmp_path):
    digits = load_recipe(taught).data.build()
    images, labels = digits.train.images.numpy(), digits.train.labels.numpy()
    for name, truth in {"true": labels, "shuffled": np.random.default_rng(0).permutation(labels)}.items():
        imcswav.run(taught, {"trainer.max_steps": 8}, out=tmp_path / name, data=ArrayData.of(images, labels=truth))
    assert_same(weights(tmp_path / "true"), weights(tmp_path / "shuffled"))


def test_a_model_has_the_teacher_only_where_it_assigns(taught, tmp_path):
    for assignment, wanted in (("classifier", False), ("teacher.classifier", True)):
        taught["learner"]["assignment"] = assignment
        short_run(taught, tmp_path / assignment)
        kept = load_file(tmp_path / assignment / "model/weights.safetensors")
        assert any(name.startswith("learner.teacher.") for name in kept) is wanted
        assert not any("queue" in name or "prior" in name for name in kept)


def test_the_teacher_assigns(taught, tmp_path):
    taught["learner"]["assignment"] = "teacher.classifier"
    result = short_run(taught, tmp_path / "run")
    pixels, _ = blobs()
    model = imcswav.load(result.path, "cpu")
    net = model.learner
    assert model.backbone is net.teacher.backbone
    with torch.no_grad():
        x_NCHW = net.views.whole(torch.from_numpy(pixels)[:, None])
        features = net.teacher.backbone(x_NCHW)
        probabilities = net.teacher.heads["classifier"](features).softmax(-1)
        online = net.heads["classifier"](net.backbone(x_NCHW)).softmax(-1)
    np.testing.assert_allclose(model.transform(pixels), features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(pixels), probabilities, rtol=1e-5, atol=1e-6)
    assert (probabilities - online).abs().max() > 1e-5
    model.save(tmp_path / "again")
    again = imcswav.load(tmp_path / "again", "cpu")
    assert np.array_equal(again.predict_proba(pixels), model.predict_proba(pixels))
    assert np.array_equal(again.predict(pixels), model.predict(pixels))


def test_a_clusterer_on_the_teacher_s_features(taught, tmp_path):
    taught["learner"]["assignment"] = "teacher.features"
    result = short_run(taught | {"clusterer": {"name": "kmeans", "n_init": 1}}, tmp_path / "run")
    model = imcswav.load(result.path, "cpu")
    pixels, _ = blobs()
    with torch.no_grad():
        features = model.learner.teacher.backbone(model.learner.views.whole(torch.from_numpy(pixels)[:, None]))
    np.testing.assert_allclose(model.transform(pixels), features, rtol=1e-5, atol=1e-6)
    assert set(model.predict(pixels)) == {0, 1}


def test_statistics_are_estimated_anew_in_the_teacher_that_assigns(taught, tmp_path):
    taught["learner"]["assignment"] = "teacher.classifier"
    trainer, _ = build_run(load_recipe(taught, {"trainer.max_steps": 3}), out=tmp_path / "run")
    trainer.fit()
    net = trainer.learner
    first, norm = net.teacher.backbone.layers[:2]
    online, before = net.backbone.layers[1].running_mean.clone(), norm.running_mean.clone()
    with torch.no_grad():
        mean = first(net.views.whole(trainer.data.train.images)).mean((0, 2, 3))
    with evaluation_model(trainer):
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-3, atol=1e-4)
        assert torch.equal(net.backbone.layers[1].running_mean, online)  # not emptied: it may be started from
    assert (norm.running_mean - mean).abs().max() > 1e-2
    assert torch.equal(norm.running_mean, before)
