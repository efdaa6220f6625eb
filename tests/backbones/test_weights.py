"""Starting weights: the forms they come in, what is converted, and the report of what doesn't fit."""

import argparse
import shutil

import pytest
import torch
from safetensors.torch import save_file
from tiny import blobs

import imcswav
from imcswav.backbones.timm import Timm
from imcswav.check import check_recipe
from imcswav.data import DataFacts
from imcswav.data.array import ArrayData
from imcswav.errors import ImcswavError, WeightsError
from imcswav.export import export_run
from imcswav.learners.frozen import Frozen
from imcswav.recipe.files import load_recipe

VIT = {"model": "test_vit", "arguments": {"patch_size": 4, "depth": 1}}


def build(channels=3, image_size=32, seed=2, **settings):
    torch.manual_seed(seed)
    return Timm.create(channels=channels, image_size=image_size, **settings)


def state_of(**settings):
    return build(seed=1, **settings).model.state_dict()


def saved(folder, form, state):
    path = folder / ("weights.safetensors" if form == "safetensors" else "weights.pth.tar")
    if form == "safetensors":
        save_file(state, path)
        return path
    wrong = {name: value + 1 for name, value in state.items()}
    torch.save(
        {
            "plain": state,
            "state_dict": {"state_dict": state | {"fc.bias": torch.zeros(3)}, "epoch": 3, "arch": "test_resnet"},
            "model": {"model": state, "args": argparse.Namespace(lr=0.1)},
            "state_dict_ema": {"state_dict": wrong, "state_dict_ema": state},
            "model_ema": {"model": wrong, "model_ema": state},
            "module.": {"state_dict": {f"module.{name}": value for name, value in state.items()}},
        }[form],
        path,
    )
    return path


@pytest.mark.parametrize(
    "form", ["safetensors", "plain", "state_dict", "model", "state_dict_ema", "model_ema", "module."]
)
def test_forms_of_files(tmp_path, form):
    state = state_of(model="test_resnet")
    path = saved(tmp_path, form, state)
    if form == "model" and not _namespaces_are_read(path):
        pytest.skip("this timm doesn't read the settings of its own training script without pickle")
    settings = {"model": "test_resnet", "weights": path}
    assert Timm.Config(**settings).check_sizes([32], 3) == []  # a classifier's weights are no news
    net = build(**settings)
    assert all(torch.equal(value, state[name]) for name, value in net.model.state_dict().items())
    assert Timm.Config(**settings).restored() == Timm.Config(model="test_resnet")


def _namespaces_are_read(path):
    from timm.models import load_state_dict

    try:
        return bool(load_state_dict(str(path), weights_only=True))
    except Exception:
        return False


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    state = state_of(model="test_resnet")
    path = saved(tmp_path, "safetensors", state)
    settings = {"model": "test_resnet", "weights": f"~/{path.name}"}
    assert Timm.Config(**settings).check_sizes([32], 3) == []
    assert all(torch.equal(value, state[name]) for name, value in build(**settings).model.state_dict().items())


def test_position_embeddings_and_channels_are_adapted(tmp_path):
    path = tmp_path / "vit.pt"
    state = state_of(**VIT)
    torch.save(state, path)
    larger = build(**VIT, image_size=48, weights=path).model
    assert larger.pos_embed.shape[1] == state["pos_embed"].shape[1] + 12**2 - 8**2
    assert torch.equal(larger.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])
    grey = build(**VIT, channels=1, weights=path).model.patch_embed.proj.weight
    torch.testing.assert_close(grey, state["patch_embed.proj.weight"].sum(1, keepdim=True))


def test_a_small_stem_starts_anew_where_the_file_has_another(tmp_path):
    path = tmp_path / "resnet.pt"
    state = state_of(model="resnet18")
    torch.save(state, path)
    settings = {"model": "resnet18", "stem": "small", "weights": path}
    (told,) = Timm.Config(**settings).check_sizes([32], 3)
    assert told.severity == "warning"
    assert told.message == f"conv1.weight starts anew: in {path} it has another shape."
    net = build(**settings).model
    assert net.conv1.weight.shape == (64, 3, 3, 3)
    assert torch.equal(net.layer1[0].conv1.weight, state["layer1.0.conv1.weight"])


def test_problems_are_told_with_counts_and_names_before_and_while_building(tmp_path):
    path = tmp_path / "weights.pt"
    state = state_of(model="test_resnet")
    lost = [name for name in state if name.startswith("layer4.0.bn1.")]
    partly = {name: value for name, value in state.items() if name not in lost}
    partly |= {"layer1.0.conv1.weight": torch.zeros(2, 2), "strange.weight": torch.zeros(1)}
    torch.save(partly, path)
    report = (
        "4 missing (layer4.0.bn1.weight, layer4.0.bn1.bias, layer4.0.bn1.running_mean, …); "
        f"1 of another shape (layer1.0.conv1.weight (2, 2) instead of {tuple(state['layer1.0.conv1.weight'].shape)}); "
        "1 unknown to the model (strange.weight)"
    )
    (problem,) = Timm.Config(model="test_resnet", weights=path).check_sizes([32], 3)
    assert (problem.path, problem.severity) == ("weights", "error")
    assert report in problem.message
    with pytest.raises(ImcswavError) as caught:
        build(model="test_resnet", weights=path)
    assert report in str(caught.value)
    torch.save(state | {"strange.weight": torch.zeros(1)}, path)
    (problem,) = Timm.Config(model="test_resnet", weights=path).check_sizes([32], 3)
    assert problem.severity == "warning"
    assert "holds more than test_resnet: 1 unknown to the model (strange.weight)" in problem.message


@pytest.mark.parametrize("content", [b"no weights", None, "pickle"])
def test_files_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "weights.pt"
    if content == "pickle":
        torch.save({"state_dict": {"a": print}}, path)
    elif content:
        path.write_bytes(content)
    (problem,) = Timm.Config(model="test_resnet", weights=path).check_sizes([32], 3)
    assert problem.path == "weights"
    assert "can't be read" in problem.message
    assert "\n" not in problem.message
    with pytest.raises(ImcswavError, match="give a safetensors file, a torch state dict or a run folder"):
        build(model="test_resnet", weights=path)


IMAGES, LABELS = blobs(60, size=16)
OTHER = DataFacts(60, 1, 16, (0.1,), (0.9,))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs of a tiny vision transformer without any batch norm through the whole path, by ``bn_statistics``."""
    heads = {
        "projection": {"name": "mlp", "hidden": [8], "width": 5},
        "prototypes": {"name": "prototypes", "input": "projection", "count": 7},
        "classifier": {"name": "mlp", "hidden": [], "width": "clusters", "detach": True},
    }
    recipe = {
        "name": "vit", "clusters": 2, "data": {"name": "digits", "size": 16},
        "views": {"name": "multicrop", "crops": [{"count": 2, "size": s, "scale": [0.3, 1.0]} for s in (14, 10)]},
        "backbone": {"name": "timm", **VIT}, "heads": heads, "losses": [{"name": "swav"}, {"name": "imc"}],
        "optimizer": {"name": "adamw", "lr": 1e-3, "layer_decay": 0.8, "decay_norms": False},
        "callbacks": {name: {"enabled": False} for name in ("console", "tensorboard", "evaluate")},
        "trainer": {"batch_size": 20, "epochs": 2, "threads": 1, "device": "cpu"},
    }  # fmt: skip
    data, folder = ArrayData.of(IMAGES, labels=LABELS), tmp_path_factory.mktemp("runs")
    return {
        mode: imcswav.run(
            recipe | {"predict": {"bn_statistics": mode}}, out=folder / mode, data=data, warn=lambda problem: None
        )
        for mode in ("train", "test", "running")
    }


def frozen(**settings):
    backbone = {"name": "timm", **VIT, **settings}
    return Frozen.Config.model_validate({"backbone": backbone}).build(facts=OTHER, clusters=2).eval()


def test_a_run_s_backbone_starts_another(run):
    done = run["train"]
    trained = imcswav.load(done.path, "cpu").learner.backbone.model.state_dict()
    for place in (done.path, done.path / "model", done.path / "model" / "weights.safetensors"):
        net = build(**VIT, channels=1, image_size=16, weights=place).model
        assert all(torch.equal(value, trained[name]) for name, value in net.state_dict().items())
    (problem,) = Timm.Config(model="test_resnet", weights=done.path).check_sizes([32], 1)
    assert "doesn't fit test_resnet" in problem.message


@torch.no_grad()
def test_features_of_a_run_s_frozen_weights_are_the_run_s(run, tmp_path):
    done, file = run["train"], tmp_path / "exported.safetensors"
    export_run(done.path, "safetensors", file)
    expected = torch.from_numpy(done.load("cpu").transform(IMAGES))
    pixels_NCHW = torch.from_numpy(IMAGES)[:, None]
    for place in (done.path, done.path / "model", done.path / "model" / "weights.safetensors", file):
        learner = frozen(weights=place)
        assert learner.normalization()[0] != pytest.approx(OTHER.mean)
        torch.testing.assert_close(learner.embed(pixels_NCHW).features, expected)


def test_a_run_that_cant_be_restored_needs_mean_and_std_to_be_given(run, tmp_path):
    whole = run["train"].path / "model"
    shutil.copy(whole / "weights.safetensors", tmp_path)
    (tmp_path / "config.json").write_text((whole / "config.json").read_text().replace('"test_vit"', '"no_vit"'))
    with pytest.raises(WeightsError, match=r"or give learner\.mean and learner\.std"):
        Timm.Config(**VIT, weights=tmp_path).normalization(1)
    assert Timm.Config(**VIT, weights=tmp_path / "none").normalization(1) is None
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    assert Timm.Config(**VIT, weights=tmp_path / "torn.safetensors").normalization(1) is None


def test_other_weights_bring_no_run_s_normalization(run, tmp_path):
    bare = tmp_path / "weights.safetensors"  # without the settings that know it
    shutil.copy(run["train"].path / "model" / bare.name, bare)
    assert frozen(weights=bare).normalization()[0] == pytest.approx(OTHER.mean)
    assert Timm.Config(**VIT, weights=bare).normalization(3) == ((0.5,) * 3, (0.5,) * 3)
    assert Timm.Config(**VIT, weights=run["train"].path).normalization(3) is None  # the run's images were grey


def test_without_batch_norm_evaluation_is_the_same_whatever_the_statistics(run):
    figures, chances = [], []
    for done in run.values():
        assert done.summary["steps"] == 6
        figures.append([done.summary[name] for name in ("acc", "nmi", "ari", "knn", "features_kmeans_acc")])
        chances.append(imcswav.load(done.path, "cpu").predict_proba(IMAGES))
    assert figures[0] == figures[1] == figures[2]
    assert chances[0].shape == (60, 2)
    assert (chances[0] == chances[1]).all()
    assert (chances[0] == chances[2]).all()
    assert len(set(chances[0][:, 0])) > 2  # not the same for every image


def test_the_path_to_weights_is_absolute_in_a_run_s_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("imc_swav_cifar10", {"backbone.weights": "here.pt"})
    assert recipe.resolved().learner.backbone.weights == tmp_path / "here.pt"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    at_home = load_recipe("imc_swav_cifar10", {"backbone.weights": "~/here.pt"}).resolved()
    assert at_home.learner.backbone.weights == tmp_path / "home" / "here.pt"
    assert recipe.learner.backbone.weights.name == str(recipe.learner.backbone.weights)
    assert any(problem.path == "backbone.weights" for problem in check_recipe(recipe))
