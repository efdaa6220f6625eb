import copy

import numpy as np
import pytest
import torch
from tiny import blobs, short
from torch.utils._python_dispatch import TorchDispatchMode

from imcswav import evaluate
from imcswav.build import build_run
from imcswav.data import Split
from imcswav.data.array import ArrayData
from imcswav.evaluate import assess, baselines, evaluation_model, scores
from imcswav.metrics import Metric
from imcswav.metrics.acc import accuracy
from imcswav.model import Model
from imcswav.plugins import registry
from imcswav.recipe.files import load_recipe


def prepare(tiny, tmp_path, test=False, labelled=True, **changes):
    pixels, labels = blobs()
    data = ArrayData.of(pixels, labels=labels if labelled else None)
    if test:
        pixels, labels = blobs(16, seed=1)
        names = [f"t{number}" for number in range(16)]
        data.test = Split(torch.from_numpy(pixels)[:, None], names, torch.from_numpy(labels))
    trainer, _ = build_run(load_recipe(short(tiny), changes), out=tmp_path / "run", data=data)
    return trainer


def assessed(trainer, **options):
    with evaluation_model(trainer) as model:
        return assess(model, trainer.data, trainer.recipe, **({"fit_clusterer": False} | options))


def test_the_test_split_is_scored_where_there_is_one(tiny, tmp_path):
    found = assessed(prepare(tiny, tmp_path, test=True))
    assert found.scored is found.test
    assert found.test.probabilities.shape == (16, 2)
    assert found.train.features.shape == (40, 8)
    assert found.scores["acc"] == accuracy(found.test.labels, found.test.clusters)
    assert set(found.scores) == {"acc", "nmi", "ari", "knn"}


def test_without_a_test_split_the_training_images_are_scored(tiny, tmp_path):
    found = assessed(prepare(tiny, tmp_path))
    assert found.test is None
    assert found.scored is found.train
    assert found.scores["acc"] == accuracy(found.train.labels, found.train.clusters)


@pytest.mark.parametrize("test", [True, False])
def test_what_metrics_are_given(tiny, tmp_path, monkeypatch, test):
    seen = []

    class Spy(Metric, name="test_spy"):
        def __call__(self, scored):
            seen.append(scored)
            return 0.5

    monkeypatch.setitem(registry().classes, ("metric", "test_spy"), Spy)
    tiny["evaluation"] = {"metrics": ["test_spy"]}
    found = assessed(prepare(tiny, tmp_path, test=test))
    assert found.scores == {"test_spy": 0.5}
    assert seen[0].same is not test  # else an image would be its own neighbour
    assert seen[0].features_NF is found.scored.features
    assert seen[0].bank_features_MF is found.train.features
    assert np.array_equal(seen[0].labels_N, found.scored.labels)
    assert np.array_equal(seen[0].bank_labels_M, found.train.labels)
    assert np.array_equal(seen[0].clusters_N, found.scored.clusters)


def embedded_splits(trainer, monkeypatch):
    """The scores as during training, and how many images were embedded for each split that was."""
    seen = []
    embed = Model.embed
    monkeypatch.setattr(Model, "embed", lambda model, images: (seen.append(len(images)), embed(model, images))[1])
    with evaluation_model(trainer) as model:
        return scores(model, trainer.data, trainer.recipe), seen


@pytest.mark.parametrize(
    ("metrics", "test", "embedded"),
    [(["acc", "nmi"], True, [16]), (["acc", "knn"], True, [16, 40]), (["acc"], False, [40]), (["knn"], False, [40])],
)
def test_during_training_only_what_a_metric_reads_is_embedded(tiny, tmp_path, monkeypatch, metrics, test, embedded):
    tiny["evaluation"] = {"metrics": metrics}
    trainer = prepare(tiny, tmp_path, test=test)
    expected = assessed(trainer).scores
    assert embedded_splits(trainer, monkeypatch) == (expected, embedded)
    assert set(expected) == set(metrics)


def test_features_stay_on_the_networks_device(tiny, tmp_path):
    found = assessed(prepare(tiny, tmp_path, test=True))
    for assigned in (found.train, found.test):
        assert assigned.features.device == assigned.split.images.device
        assert assigned.features.dtype == torch.float32


def test_without_labels_there_are_no_scores(tiny, tmp_path):
    trainer = prepare(tiny, tmp_path, labelled=False)
    found = assessed(trainer)
    assert found.scores == {}
    assert found.train.probabilities.shape == (40, 2)
    assert baselines(found, trainer.recipe) == {}


def test_without_a_classifier_only_features_are_scored(tiny, tmp_path):
    del tiny["heads"]["classifier"], tiny["losses"][1]
    found = assessed(prepare(tiny, tmp_path))
    assert found.train.probabilities is None
    assert set(found.scores) == {"knn"}


def test_a_clusterer_takes_the_learners_place(tiny, tmp_path):
    tiny["clusterer"] = {"name": "kmeans", "n_init": 2}
    trainer = prepare(tiny, tmp_path)
    own, fitted = assessed(trainer), assessed(trainer, fit_clusterer=True)
    assert not np.allclose(own.train.probabilities, fitted.train.probabilities)
    assert fitted.scores["acc"] == 1.0  # the two kinds of blobs lie apart in any features


@pytest.mark.parametrize("mode", ["train", "test", "running"])
def test_evaluation_changes_no_training_state(tiny, tmp_path, mode):
    trainer = prepare(tiny, tmp_path, test=True, **{"predict.bn_statistics": mode})
    trainer.fit()
    before, generator = copy.deepcopy(trainer.learner.state_dict()), torch.get_rng_state()
    assessed(trainer, fit_clusterer=True)
    for name, value in trainer.learner.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(torch.get_rng_state(), generator)
    assert trainer.learner.training


def test_where_the_statistics_come_from(tiny, tmp_path):
    """Re-estimated from the training images, from the test images, or as training left them."""
    trainer = prepare(tiny, tmp_path, test=True)
    trainer.data.test.images.fill_(255)
    norm = trainer.learner.backbone.layers[1]
    with torch.no_grad():
        whole = trainer.learner.backbone.layers[0](trainer.learner.views.whole(trainer.data.train.images))
        bright = trainer.learner.backbone.layers[0](trainer.learner.views.whole(trainer.data.test.images))
    expected = {
        "train": whole.mean((0, 2, 3)),
        "test": 0.9 * norm.running_mean + 0.1 * bright.mean((0, 2, 3)),
        "running": norm.running_mean.clone(),
    }
    for mode, mean in expected.items():
        predict = trainer.recipe.predict.model_copy(update={"bn_statistics": mode})
        settings = trainer.recipe.trainer.model_copy(update={"batch_size": 16})
        trainer.recipe = trainer.recipe.model_copy(update={"predict": predict, "trainer": settings})
        with evaluation_model(trainer):
            torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-5)


def test_no_host_wait_while_images_are_embedded(tiny, tmp_path):
    """Each would stall a GPU: scalars read, constants copied, shapes that depend on data."""
    trainer = prepare(tiny, tmp_path, test=True)
    assessed(trainer)  # constants come to the device
    seen = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with Watch(), evaluation_model(trainer) as model:
        model.embed(trainer.data.test.images)
    assert "convolution" in seen
    assert not seen & {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "lift_fresh"}


def test_statistics_do_not_depend_on_the_batch_of_prediction(tiny, tmp_path, monkeypatch):
    trainer = prepare(tiny, tmp_path)
    whole = assessed(trainer).train.probabilities
    monkeypatch.setattr("imcswav.model.BATCH", 39)  # leaves one image over, too few for batch statistics
    assert np.allclose(assessed(trainer).train.probabilities, whole, atol=1e-6)


def test_baselines_are_kmeans_on_pixels_and_features(tiny, tmp_path, monkeypatch):
    trainer = prepare(tiny, tmp_path, test=True)
    found = assessed(trainer)
    figures = baselines(found, trainer.recipe)
    assert figures["kmeans_acc"] == 1.0
    assert set(figures) == {"kmeans_acc", "features_kmeans_acc"}
    monkeypatch.setattr(evaluate, "BASELINE_IMAGES", 7)  # a few at a time
    assert baselines(found, trainer.recipe)["kmeans_acc"] == 1.0
    monkeypatch.setattr(evaluate, "BASELINE_VALUES", 64)  # not even one image for each cluster
    assert 0.5 <= baselines(found, trainer.recipe)["kmeans_acc"] <= 1.0


def test_no_baseline_has_more_clusters_than_images(tiny, tmp_path):
    """As when most files of a folder could not be read."""
    trainer = prepare(tiny, tmp_path, test=True)
    found = assessed(trainer)
    many = trainer.recipe.model_copy(update={"clusters": len(trainer.data.train) + 1})
    assert baselines(found, many) == {}
