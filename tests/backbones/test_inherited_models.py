"""A recipe on top, or ``--set``, that names another model: what it inherits."""

import pytest

from imcswav.backbones.timm import Timm
from imcswav.check import check_recipe
from imcswav.recipe.files import load_recipe

BASE = "imc_swav_cifar10"


def backbone(*changes):
    return load_recipe(BASE, changes).learner.backbone


def test_a_model_of_another_kind_drops_the_arguments_alone():
    found = backbone("backbone.model=convnext_atto")
    assert (found.model, found.stem, found.arguments) == ("convnext_atto", "small", {})


@pytest.mark.parametrize("model", ["resnet34", "resnet50", "seresnet18", "resnet18.a1_in1k"])
def test_a_model_of_the_same_kind_keeps_them(model):
    assert backbone(f"backbone.model={model}").arguments == {"zero_init_last": False}


@pytest.mark.parametrize("reverse", [False, True])
def test_arguments_given_together_with_the_model_stay(reverse):
    changes = ["backbone.arguments={patch_size = 4}", "backbone.model=vit_tiny_patch16_224", "backbone.stem=imagenet"]
    found = backbone(*(reversed(changes) if reverse else changes))
    assert found.arguments == {"patch_size": 4}


@pytest.mark.parametrize("reverse", [False, True])
def test_single_arguments_given_together_with_the_model_stay(reverse):
    changes = ["backbone.arguments.patch_size=4", "backbone.model=vit_tiny_patch16_224", "backbone.stem=imagenet"]
    assert backbone(*(reversed(changes) if reverse else changes)).arguments == {"patch_size": 4}


def test_files_inherit_in_the_same_way(tmp_path):
    (tmp_path / "top.toml").write_text(
        'extends = "imc_swav_cifar10"\n[backbone]\nmodel = "deit_tiny_patch16_224"\nstem = "imagenet"\n'
        "arguments = { patch_size = 4 }\n"
    )
    (tmp_path / "topmost.toml").write_text(
        'extends = "top.toml"\n[backbone]\nmodel = "vit_tiny_patch16_224"\narguments = { depth = 2 }\n'
    )
    recipe = load_recipe(tmp_path / "topmost.toml")
    assert recipe.learner.backbone.arguments == {"patch_size": 4, "depth": 2}  # both are vision transformers
    assert [p for p in check_recipe(recipe) if p.severity == "error"] == []


def test_unknown_models_are_left_to_the_checks():
    assert Timm.Config.inherit({"arguments": {"a": 1}}, {"model": "no_such"}) == {"arguments": {"a": 1}}
    assert Timm.Config.inherit({"arguments": {"a": 1}}, {"model": 3}) == {"arguments": {"a": 1}}


def test_a_vision_transformer_under_a_small_stem_says_what_to_do():
    (problem,) = [p for p in check_recipe(load_recipe(BASE, ["backbone.model=vit_tiny_patch16_224"])) if p.path]
    assert problem.path == "backbone.stem"
    assert "use stem = 'imagenet' and set the patches' size" in problem.message
