import pytest
import torch
from pydantic import ValidationError
from torch import nn

from imcswav.backbones.small_resnet import SmallResNet, conv1x1


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


@pytest.mark.parametrize(("width", "step", "side"), [(6, 2, 8), (3, 2, 7), (4, 3, 10)])
def test_few_channels_are_subsampled_as_by_a_stride(width, step, side):
    own = conv1x1(width, 5, step).double()
    torchs = nn.Conv2d(width, 5, 1, step, bias=False).double()
    torchs.load_state_dict(own.state_dict())
    found, expected = (torch.randn(3, width, side, side, dtype=torch.float64) for _ in range(2))
    expected.copy_(found)
    for x, convolution in ((found, own), (expected, torchs)):
        convolution(x.requires_grad_()).square().sum().backward()
    torch.testing.assert_close(own(found), torchs(expected))
    torch.testing.assert_close(found.grad, expected.grad)
    torch.testing.assert_close(own.weight.grad, torchs.weight.grad)


def test_a_small_network_with_a_stride_trains_channels_last():
    """On some CPUs torch's own convolution ends the process here."""
    network = SmallResNet(SmallResNet.Config(widths=[6, 8], strides=[1, 2]), channels=3, image_size=28)
    network.to(memory_format=torch.channels_last)
    for _ in range(5):
        network(torch.randn(16, 3, 28, 28).contiguous(memory_format=torch.channels_last)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
