import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import FACTS, images, learner
from torch import nn

from imcswav.errors import DataError, ImcswavError, RunError
from imcswav.learners import Embedding, Learner
from imcswav.model import Model
from imcswav.plugins import registry


@pytest.fixture
def model():
    trained = learner()
    trained.train()
    trained.embed(images(64))  # running statistics that aren't the initial ones
    return Model(trained.eval(), facts=FACTS, clusters=3, views=2)


def test_saved_and_loaded_gives_identical_probabilities(model, tmp_path):
    before = model.predict_proba(images())
    model.save(tmp_path / "run" / "model")
    for place in (tmp_path / "run", tmp_path / "run" / "model", str(tmp_path / "run")):
        loaded = Model.load(place)
        assert np.array_equal(loaded.predict_proba(images()), before)
        assert np.array_equal(loaded.transform(images()), model.transform(images()))
    assert (loaded.clusters, loaded.views, loaded.facts) == (3, 2, FACTS)
    assert not loaded.learner.training
    assert sorted(path.name for path in (tmp_path / "run" / "model").iterdir()) == [
        "config.json",
        "weights.safetensors",
    ]


def test_flip_averages_over_the_mirror_image(model, tmp_path):
    plain = [model.predict_proba(batch) for batch in (images(), images().flip(-1))]
    features = [model.transform(batch) for batch in (images(), images().flip(-1))]
    assert not np.allclose(*plain)
    model.flip = True
    assert np.allclose(model.predict_proba(images()), np.mean(plain, 0), atol=1e-6)
    assert np.allclose(model.transform(images()), np.mean(features, 0), atol=1e-6)
    model.save(tmp_path / "model")
    assert np.array_equal(Model.load(tmp_path / "model").predict_proba(images()), model.predict_proba(images()))


def test_shapes_and_dtypes(model):
    probabilities, features = model.predict_proba(images()), model.transform(images())
    assert (probabilities.shape, probabilities.dtype) == ((8, 3), np.float32)
    assert (features.shape, features.dtype) == ((8, 8), np.float32)
    assert np.allclose(probabilities.sum(1), 1)
    clusters = model.predict(images())
    assert clusters.dtype == np.int64
    assert np.array_equal(clusters, probabilities.argmax(1))
    averaged = model.learner.embed(images(), views=2).probabilities.detach().numpy()
    assert np.array_equal(probabilities, averaged)
    assert model.backbone(torch.zeros(2, 3, 12, 12)).shape == (2, 8)


def test_more_images_than_a_batch_come_back_in_order(model, monkeypatch):
    whole = model.predict_proba(images(9))
    monkeypatch.setattr("imcswav.model.BATCH", 4)
    assert np.allclose(model.predict_proba(images(9)), whole, atol=1e-6)


def test_precision_is_the_recipes_and_bf16_only_on_a_gpu(model, tmp_path, monkeypatch):
    seen = []
    embed = type(model.learner).embed

    def spy(learner, images, views=1):
        seen.append(torch.is_autocast_enabled("cpu"))
        return embed(learner, images, views)

    monkeypatch.setattr(type(model.learner), "embed", spy)
    model.predict(images())
    monkeypatch.setattr("imcswav.model.resolve_precision", lambda setting, device: "bf16")  # as a GPU would say
    model.predict(images())
    model.precision = "fp32"
    model.predict(images())
    assert seen == [False, True, False]
    model.save(tmp_path)
    assert Model.load(tmp_path).precision == "fp32"


@pytest.mark.parametrize("form", ["tensor", "channels last", "floats", "paths", "texts", "pil", "arrays"])
def test_takes_images_of_every_form(model, tmp_path, form):
    pixels = images(3)
    arrays = [image.permute(1, 2, 0).numpy() for image in pixels]
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{number}.png")
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    given = {
        "tensor": pixels,
        "channels last": np.stack(arrays),
        "floats": pixels.double() / 255,
        "paths": paths,
        "texts": [str(path) for path in paths],
        "pil": [Image.open(path) for path in paths],
        "arrays": arrays,
    }[form]
    assert np.array_equal(model.predict_proba(given), model.predict_proba(pixels))


def test_images_of_another_size_are_resized_and_bad_ones_refused(model, tmp_path):
    assert model.predict(images(2, size=30)).shape == (2,)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png"):
        model.predict([tmp_path / "broken.png"])
    with pytest.raises(DataError, match="no images"):
        model.predict([])


@pytest.mark.parametrize("name", ["kmeans", "multi_head", "spectral", "gaussian_mixture"])
def test_clusterers_are_saved_with_the_network(model, tmp_path, name):
    features = model.transform(images(30))
    model.clusterer = registry().get("clusterer", name).Config().build(clusters=3, seed=0)
    model.clusterer.fit(features)
    before = model.predict_proba(images())
    model.save(tmp_path)
    after = Model.load(tmp_path).predict_proba(images())
    assert np.array_equal(after, before)
    assert after.dtype == np.float32
    network = model.embed(images()).probabilities.numpy()
    assert not np.allclose(after, network)


def test_without_classifier_and_clusterer_nothing_assigns():
    features_only = Model(learner(assignment="none").eval(), facts=FACTS, clusters=3)
    assert features_only.transform(images()).shape == (8, 8)
    with pytest.raises(RunError, match="no classifier and no clusterer"):
        features_only.predict(images())


class Plain(Learner, name="plain_pixels"):
    """A learner without any tensor."""

    def embed(self, images_NCHW, views=1):
        return Embedding(images_NCHW.flatten(1).float(), None)


def test_a_learner_without_any_tensor_embeds():
    model = Model(Plain.Config().build(facts=FACTS, clusters=3), facts=FACTS, clusters=3)
    assert np.array_equal(model.transform(images()), images().flatten(1).numpy())


def test_sources_of_starting_weights_are_not_needed_at_load(tmp_path, monkeypatch):
    backbone = {"name": "timm", "model": "test_resnet", "pretrained": True}
    settings = learner(backbone=backbone | {"pretrained": False}).config
    pretrained = settings.model_copy(update={"backbone": settings.backbone.model_copy(update={"pretrained": True})})
    trained = settings.build(facts=FACTS, clusters=3).eval()
    trained.config = pretrained
    Model(trained, facts=FACTS, clusters=3).save(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["learner"]["backbone"]["pretrained"] is True
    monkeypatch.setattr("imcswav.backbones.timm._download", pytest.fail)
    assert np.array_equal(
        Model.load(tmp_path).predict(images()), Model(trained, facts=FACTS, clusters=3).predict(images())
    )


def test_tied_weights_can_be_saved(model, tmp_path):
    model.learner.twin = nn.Linear(1, 1)
    model.learner.twin.weight = model.learner.heads["projection"].layers[0].weight
    model.save(tmp_path)


def damage(folder, what):
    config, weights = folder / "config.json", folder / "weights.safetensors"
    table = json.loads(config.read_text())
    match what:
        case "nothing there":
            config.unlink()
        case "no weights":
            weights.unlink()
        case "torn weights":
            weights.write_bytes(weights.read_bytes()[:200])
        case "torn config":
            config.write_text(config.read_text()[:40])
        case "no table":
            config.write_text("[1, 2]")
        case "newer":
            config.write_text(json.dumps(table | {"format": 2}))
        case "other widths":
            table["learner"]["heads"]["projection"]["width"] = 6
            config.write_text(json.dumps(table))
        case "missing plugin":
            table["learner"]["losses"][0] = {"name": "someone_elses"}
            config.write_text(json.dumps(table))
        case "no facts":
            del table["facts"]
            config.write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nothing there", "holds no readable model"),
        ("no weights", "holds no readable model"),
        ("torn weights", "holds no readable model"),
        ("torn config", "holds no readable model"),
        ("no table", "holds no readable model"),
        ("newer", "is of model format 2, this imcswav reads 1; upgrade"),
        ("other widths", "can't be restored .*size mismatch"),
        ("missing plugin", "can't be restored .*no loss 'someone_elses'"),
        ("no facts", "can't be restored .*facts"),
    ],
)
def test_what_is_no_model_is_refused_in_one_sentence(model, tmp_path, what, message):
    model.save(tmp_path / "model")
    damage(tmp_path / "model", what)
    with pytest.raises(RunError, match=message) as caught:
        Model.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there(model, tmp_path):
    model.save(tmp_path)
    assert Model.load(tmp_path, "auto").predict(images()).shape == (8,)
    with pytest.raises(ImcswavError, match="Device 'warp' can't be used"):
        Model.load(tmp_path, "warp")
