"""A model of each family that takes crops of 28 and 18 px, trained a step by the multi-view learner."""

import re
from pathlib import Path

import pytest
import timm
import torch
from packaging.version import Version
from tiny import SETTINGS

from imcswav.backbones._timm_models import create, dry_run
from imcswav.data import Batch, DataFacts
from imcswav.learners.multiview import MultiView
from imcswav.step import Progress

FAMILIES = {
    "ResNet": {"model": "test_resnet", "stem": "small"},
    "RegNet": {"model": "regnetx_002", "stem": "small"},
    "EfficientNet": {"model": "test_efficientnet", "stem": "small"},
    "MobileNetV3": {"model": "mobilenetv3_small_050", "stem": "small"},
    "GhostNet": {"model": "ghostnet_050", "stem": "small"},
    "DenseNet": {"model": "densenet121", "stem": "small", "arguments": {"growth_rate": 4}},
    "NFNet": {"model": "test_nfnet", "stem": "small"},
    "ConvNeXt": {"model": "test_convnext", "stem": "small"},
    "MobileViT": {"model": "mobilevit_xxs"},
    "EfficientViT": {"model": "efficientvit_b0"},
    "ViT": {"model": "test_vit", "arguments": {"patch_size": 4}},
    "DeiT": {"model": "deit_tiny_distilled_patch16_224", "arguments": {"patch_size": 4, "depth": 1}},
    "EVA-02": {"model": "eva02_tiny_patch14_224", "arguments": {"patch_size": 4, "depth": 1}},
    "XCiT": {"model": "xcit_nano_12_p16_224", "arguments": {"depth": 1}},
    "Swin": {"model": "swin_tiny_patch4_window7_224", "arguments": {"patch_size": 2, "embed_dim": 24}},
}
OLD_TIMM = Version(timm.__version__) < Version("1.0.31")
NEW = {"RegNet", "EfficientViT", "Swin"}
"""What older releases of timm build differently, or not for such sizes."""
FACTS = DataFacts(64, 3, 32, (0.5,) * 3, (0.25,) * 3)
CROPS = [{"count": 2, "size": 28, "scale": [0.4, 1.0]}, {"count": 2, "size": 18, "scale": [0.1, 0.4]}]
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "swap_the_backbone.md"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_with_crops_of_two_sizes(family):
    if family in NEW and OLD_TIMM:
        pytest.skip(f"timm {timm.__version__} has no such {family}")
    changes = {"backbone": {"name": "timm"} | FAMILIES[family], "views": {"name": "multicrop", "crops": CROPS}}
    settings = MultiView.Config.model_validate(SETTINGS | changes)
    assert settings.backbone.check_sizes([32, 28, 18], 3) == []
    torch.manual_seed(0)
    learner = settings.build(facts=FACTS, clusters=3).train()
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    learner(Batch(images, torch.arange(4)), Progress(0, 0, 10, 5), 1)["loss"].backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert any(p.grad.any() for p in learner.backbone.parameters())
    depths = learner.depths()  # what layer-wise learning rates are made from
    assert depths.keys() == {f"backbone.{name}" for name, _ in learner.backbone.named_parameters()}
    assert {0, 1} <= set(depths.values())


def rows(pattern):
    return dict(re.findall(pattern, GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_the_guide_names_the_families():
    shown = rows(r"^\| ([\w-]+) \| `(\w+)` \|")
    assert shown == {family: settings["model"] for family, settings in FAMILIES.items()}


def test_the_guide_gives_the_smallest_size_of_models_that_are_left_out():
    sizes = rows(r"^\| `(\w+)` \| (\d+) \|")
    assert len(sizes) > 5
    for name, size in sizes.items():
        with torch.device("meta"):
            model = create(name, 32).eval()
        assert [bool(dry_run(model, 3, tried)) for tried in (18, 28, int(size) - 1, int(size))] == [1, 1, 1, 0], name
