"""The perceptron against its layers applied by hand."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from imcswav.heads.mlp import MLP


def kinds(head: MLP) -> list[type]:
    return [type(layer) for layer in head.layers]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [nn.Linear]),
        ({"hidden": [6]}, [nn.Linear, nn.Linear]),
        ({"hidden": [6], "activation": "relu"}, [nn.Linear, nn.ReLU, nn.Linear]),
        ({"hidden": [6], "norm": "batch"}, [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]),
        ({"hidden": [6], "norm": "batch", "activation": "none"}, [nn.Linear, nn.BatchNorm1d, nn.Linear]),
        ({"hidden": [6, 7], "activation": "gelu"}, [nn.Linear, nn.GELU, nn.Linear, nn.GELU, nn.Linear]),
    ],
)
def test_layers(settings: dict[str, Any], expected: list[type]) -> None:
    head = MLP.create(in_features=4, clusters=3, width=5, **settings)
    assert kinds(head) == expected
    assert head(torch.randn(8, 4)).shape == (8, 5)


def test_classifier_by_hand() -> None:
    head = MLP.create(in_features=4, clusters=3, width="clusters", hidden=[6, 7], norm="batch").double()
    assert head.out_features == 3
    x = torch.randn(10, 4, dtype=torch.float64)
    expected = x
    linears = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
    for linear in linears[:-1]:
        expected = expected @ linear.weight.T + linear.bias
        expected = (expected - expected.mean(0)) / (expected.var(0, unbiased=False) + 1e-5).sqrt()
        expected = expected.clamp_min(0)
    expected = expected @ linears[-1].weight.T + linears[-1].bias
    torch.testing.assert_close(head(x), expected)


def test_projection_is_linear() -> None:
    # the published projection: nothing between its two layers
    head = MLP.create(in_features=4, clusters=3, width=2, hidden=[6]).double()
    first, second = head.layers
    x = torch.randn(5, 4, dtype=torch.float64)
    weight = second.weight @ first.weight
    torch.testing.assert_close(head(x), x @ weight.T + second.weight @ first.bias + second.bias)


def test_noise_is_added_to_the_input_in_training_only() -> None:
    head = MLP.create(in_features=4, clusters=3, width=5, noise=0.5).double()
    x = torch.randn(5000, 4, dtype=torch.float64)
    seen: list[torch.Tensor] = []
    head.layers[0].register_forward_pre_hook(lambda layers, given: seen.append(given[0]))
    head(x)
    noise = seen[0] - x
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(0.5, rel=0.02)
    head.eval()(x)
    assert torch.equal(seen[1], x)


def test_under_autocast_the_hidden_layers_alone_are_in_half_precision() -> None:
    head = MLP.create(in_features=4, clusters=3, width=5, hidden=[6, 7], norm="batch")
    seen: list[torch.dtype] = []
    for layer in head.layers:
        layer.register_forward_hook(lambda layer, given, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert head(torch.randn(8, 4)).dtype == torch.float32
    assert seen == [torch.bfloat16] * 6 + [torch.float32]


def test_output_of_length_1() -> None:
    head = MLP.create(in_features=4, clusters=3, width=5, normalize=True)
    x = torch.randn(8, 4)
    torch.testing.assert_close(head(x).norm(dim=1), torch.ones(8))
    torch.testing.assert_close(head(x), F.normalize(head.layers(x), dim=1))


def test_no_bias() -> None:
    head = MLP.create(in_features=4, clusters=3, width=5, hidden=[6], bias=False)
    assert sorted(name for name, _ in head.named_parameters()) == ["layers.0.weight", "layers.1.weight"]


@pytest.mark.parametrize("settings", [{"width": 0}, {"width": "classes"}, {"width": 2, "hidden": [0]}, {}])
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"width|hidden"):
        MLP.create(in_features=4, clusters=3, **settings)
