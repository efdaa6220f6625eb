import pytest
import torch
from pydantic import ValidationError
from torch import nn

from imcswav.backbones.small_resnet import SmallResNet


@pytest.mark.parametrize("size", [1, 7, 12, 33])
def test_takes_any_size(size):
    net = SmallResNet.create(stem=4, widths=[6, 8], strides=[2, 2], channels=2, image_size=12)
    assert net(torch.randn(3, 2, size, size)).shape == (3, 8)
    assert net.features == 8
    assert SmallResNet.Config().check_sizes([size], 3) == []


def test_stages_blocks_and_strides():
    net = SmallResNet.create(stem=4, widths=[4, 6], strides=[1, 2], blocks=2, channels=3, image_size=8)
    assert net.layers(torch.randn(1, 3, 8, 8)).shape == (1, 6, 4, 4)
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 1 + 2 * 4 + 1  # stem, two a block, one projection
    assert all(conv.bias is None for conv in convolutions)


def test_convolutions_start_with_kaiming_fan_out():
    torch.manual_seed(0)
    net = SmallResNet.create(stem=32, widths=[64], strides=[1], channels=3, image_size=8)
    for conv in (module for module in net.modules() if isinstance(module, nn.Conv2d)):
        expected = (2 / (conv.out_channels * conv.kernel_size[0] ** 2)) ** 0.5
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.08)
    assert all((layer.weight == 1).all() for layer in net.modules() if isinstance(layer, nn.BatchNorm2d))


def test_a_block_adds_its_shortcut():
    from imcswav.backbones.small_resnet import BasicBlock

    block = BasicBlock(3, 3, 1).eval()
    nn.init.zeros_(block.residual[-1].weight)
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": [8, 8], "strides": [1]}, "widths has 2 stages, strides 1"),
        ({"widths": [0], "strides": [1]}, "must be 1 or more"),
        ({"widths": [], "strides": []}, "at least 1"),
        ({"blocks": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_network(settings, message):
    with pytest.raises(ValidationError, match=message):
        SmallResNet.Config(**settings)


def test_depths_count_the_blocks():
    depths = SmallResNet.create(stem=4, widths=[4, 6], strides=[1, 2], blocks=2, channels=3, image_size=8).depths()
    assert {name.split(".")[1]: depth for name, depth in depths.items()} == {
        "0": 0, "1": 0, "3": 1, "4": 2, "5": 3, "6": 4,
    }  # fmt: skip
