"""A model as one file: each format, run without imcswav where it can be, gives what torch gives."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from cli_calls import call
from tiny import FACTS, images, learner

import imcswav
from imcswav.clustering.edits import Assign, DropOutliers, Merge, Refit, Rename, Split
from imcswav.clustering.edits.kept import Kept
from imcswav.errors import ImcswavError, RunError
from imcswav.export import FORMATS, export_run, onnx, safetensors
from imcswav.model import Model
from imcswav.plugins import registry

HAVE_ONNX = all(importlib.util.find_spec(name) for name in onnx.NEEDED)
needs_onnx = pytest.mark.skipif(not HAVE_ONNX, reason="onnx, onnxscript and onnxruntime are not all installed")
ONNX = pytest.param("onnx", marks=needs_onnx)


def model_of(clusterer=None, views=1, flip=False, **changes):
    """A model with running statistics that aren't the initial ones."""
    network = learner(**changes).train()
    network.embed(images(64))
    model = Model(network.eval(), facts=FACTS, clusters=3, views=views, flip=flip)
    if clusterer is not None:
        model.clusterer = registry().get("clusterer", clusterer).Config().build(clusters=3, seed=0)
        model.clusterer.fit(model.transform(images(30)))
    return model


def run_file(path, kind, pixels):
    """Features, probabilities and metadata by the format's own library."""
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 3, 12, 12])
        found = session.run(["features", "probabilities"], {"images": pixels.numpy()})
        return *found, json.loads(session.get_modelmeta().custom_metadata_map["imcswav"])
    extra = {"imcswav": ""}
    graph = torch.export.load(str(path), extra_files=extra).module()
    features, probabilities = graph(pixels)
    return features.detach().numpy(), probabilities.detach().numpy(), json.loads(extra["imcswav"])


TIMM = {"name": "timm", "model": "test_vit", "arguments": {"patch_size": 4}}
CASES = {
    "plain": {},
    "views and mirror images": {"views": 3, "flip": True},
    "k-means": {"clusterer": "kmeans"},
    "mixture": {"clusterer": "gaussian_mixture", "flip": True},
    "directions": {"clusterer": "spherical_kmeans", "assignment": "none"},
    "ViT": {"backbone": TIMM},
    "resnet18": {"backbone": {"name": "timm", "model": "resnet18"}, "clusterer": "kmeans"},
}
IN_ONNX = ("views and mirror images", "mixture", "ViT", "resnet18")  # some: an export takes seconds


@pytest.mark.parametrize(
    ("kind", "case"),
    [("torch-export", name) for name in CASES] + [pytest.param("onnx", name, marks=needs_onnx) for name in IN_ONNX],
)
def test_a_graph_gives_what_torch_gives(kind, case, tmp_path):
    model = model_of(**CASES[case])
    model.save(tmp_path / "model")
    path = tmp_path / f"file{FORMATS[kind].SUFFIX}"
    assert export_run(tmp_path, kind, path).path == path
    for count in (1, 2, 7):
        pixels = images(count)
        features, probabilities, _ = run_file(path, kind, pixels)
        assert (features.dtype, probabilities.dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(features, model.transform(pixels), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(probabilities, model.predict_proba(pixels), atol=1e-5)


@pytest.mark.parametrize("kind", ["torch-export", ONNX])
def test_a_file_says_what_goes_in_and_out(kind, tmp_path):
    edits = Kept((0, 1, 2), [Rename(cluster=0, name="cats"), Merge(clusters=(2, 1)), DropOutliers(below=0.4)])
    edited(model_of(flip=True), edits).save(tmp_path / "model")
    path = export_run(tmp_path, kind, tmp_path / "file").path
    assert run_file(path, kind, images(2))[2] == {
        "version": imcswav.__version__,
        "size": 12,
        "channels": 3,
        "resize": "crop",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.3],
        "clusters": 2,
        "ids": [0, 2],
        "names": ["cats", "cluster 2"],
        "below": 0.4,
        "views": 1,
        "flip": True,
    }


def edited(model, edits):
    model.edits = edits
    return model


def edits_of_all_kinds(model):
    """Every edit that changes probabilities, learnt on random images."""
    found = model.clustering(model.embed(images(60)))
    made = []
    for wanted in (
        DropOutliers(below=0.34), Split(cluster=1), Merge(clusters=(0, 2)), Split(cluster=3), Refit(),
        Split(cluster=0, into=3), Merge(clusters=(5, 1)), Rename(cluster=0, name="cats"),
    ):  # fmt: skip
        made.append(wanted.prepared(found, Kept((0, 1, 2), made).free))
        found = made[-1].applied(found)
    return Kept((0, 1, 2), made)


@pytest.mark.parametrize("kind", ["torch-export", ONNX, "safetensors"])
def test_a_file_has_the_edits_that_were_made(kind, tmp_path):
    model = model_of("kmeans")
    model = edited(model, edits_of_all_kinds(model))
    model.save(tmp_path / "model")
    path = export_run(tmp_path, kind, tmp_path / f"file{FORMATS[kind].SUFFIX}").path
    pixels = images(60, size=12)
    expected = model.clustering(model.embed(pixels))
    if kind == "safetensors":
        loaded = imcswav.load(path, "cpu")
        assert np.array_equal(loaded.predict(pixels), expected.clusters_N)
        return
    _, probabilities, about = run_file(path, kind, pixels)
    assert about["ids"] == list(expected.ids)
    np.testing.assert_allclose(probabilities, expected.probabilities_NK, atol=2e-5)
    np.testing.assert_array_equal(probabilities.argmax(1), expected.probabilities_NK.argmax(1))


def test_a_file_for_others_names_no_image(tmp_path):
    model = edited(
        model_of(), Kept((0, 1, 2), [Assign(images=("private.png",), cluster=1)], [Rename(cluster=0, name="granny")])
    )
    model.save(tmp_path / "model")
    path = export_run(tmp_path, "safetensors", tmp_path / "file.safetensors").path
    content = path.read_bytes()
    assert b"private.png" not in content
    assert b"granny" not in content


def test_one_file_of_weights_is_a_whole_model(tmp_path):
    model = model_of("kmeans", views=2, flip=True)
    model.save(tmp_path / "model")
    path = export_run(tmp_path / "model", "safetensors", tmp_path / "file.safetensors").path
    loaded = imcswav.load(path, "cpu")
    assert np.array_equal(loaded.predict_proba(images()), model.predict_proba(images()))
    assert np.array_equal(loaded.transform(images()), model.transform(images()))


def test_weights_without_settings_are_no_model(tmp_path):
    model_of().save(tmp_path)
    with pytest.raises(RunError, match="has weights, but not their settings"):
        Model.load(tmp_path / "weights.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(RunError, match="holds no readable model"):
        Model.load(tmp_path / "broken.safetensors")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from conftest import TINY

    folder = tmp_path_factory.mktemp("runs") / "run"
    imcswav.run(TINY, {"trainer.max_steps": 3, "predict.views": 2}, out=folder, warn=lambda problem: None)
    return folder


@pytest.mark.parametrize("kind", ["torch-export", "safetensors", ONNX])
def test_checked_on_all_digits_by_one_command(kind, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(capsys, "export", run, "--format", kind, "--check")
    assert code == 0
    assert (tmp_path / f"model{FORMATS[kind].SUFFIX}").is_file()
    assert "1,797 images of the train split: all predictions agree" in out


def test_a_file_that_predicts_otherwise_fails_the_check(run, tmp_path, monkeypatch, capsys):
    honest = safetensors.reader

    def reader(path):
        def turned(pixels):
            features, probabilities = honest(path)(pixels)
            probabilities[:1] = np.roll(probabilities[:1], 1, axis=1)
            return features + 0.5, probabilities

        return turned

    monkeypatch.setattr(safetensors, "reader", reader)
    path = tmp_path / "file"
    code, out, _ = call(capsys, "export", run, "--format", "safetensors", "--out", path, "--check")
    assert code == 3
    assert "4 predictions differ" in out  # the first of each batch of 499
    assert "features by 5.0e-01" in out
    assert path.is_file()


def test_without_the_runs_data_images_are_random_and_it_is_said(run, tmp_path):
    check = export_run(run / "model", "safetensors", tmp_path / "file", check=True).check
    assert check.passed
    assert check.images == 200
    assert "random images (the run's own can't be read" in str(check)


def test_nothing_is_overwritten(run, tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("mine")
    code, _, err = call(capsys, "export", run, "--format", "safetensors", "--out", path)
    assert code == 2
    assert "exists" in err
    assert path.read_text() == "mine"
    code, _, err = call(capsys, "export", run, "--format", "safetensors", "--out", tmp_path / "nowhere" / "file")
    assert (code, len(err.strip().splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: model_of("spectral"), "The clusterer 'spectral' .* no form that a graph can hold; .*safetensors"),
        (lambda: model_of(assignment="none"), "Nothing in this model assigns clusters"),
    ],
)
def test_what_has_no_graph_is_one_sentence(model, message, tmp_path):
    model().save(tmp_path / "model")
    with pytest.raises(RunError, match=message):
        export_run(tmp_path, "torch-export", tmp_path / "file")
    assert not (tmp_path / "file").exists()
    export_run(tmp_path, "safetensors", tmp_path / "file")


def test_a_network_that_cannot_be_traced_is_one_sentence(tmp_path, monkeypatch):
    model_of().save(tmp_path / "model")
    kind = type(model_of().learner)
    embed = kind.embed
    monkeypatch.setattr(kind, "embed", lambda self, pixels, views=1: embed(self, pixels[: int(pixels.max()) + 9]))
    with pytest.raises(
        RunError, match=r"can't be exported as a graph .*; export it with --format safetensors"
    ) as caught:
        export_run(tmp_path, "torch-export", tmp_path / "file")
    assert len(str(caught.value).splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_missing_packages_and_unknown_formats_are_named(tmp_path, monkeypatch):
    model_of().save(tmp_path / "model")
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ImcswavError, match=r"\(onnxscript\); install: pip install 'imcswav\[onnx\]'"):
        export_run(tmp_path, "onnx", tmp_path / "file")
    with pytest.raises(ImcswavError, match="no format 'tflite'; give one of onnx"):
        export_run(tmp_path, "tflite", tmp_path / "file")
