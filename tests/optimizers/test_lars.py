"""LARS against loops over tensors and numbers, and against plain SGD where it must agree."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imcswav.optimizers.lars import LARS

SHAPES = [(4, 3), (5,)]


def draw(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def length(values: list[float]) -> float:
    return math.sqrt(sum(value * value for value in values))


def looped(
    lr: float, steps: int, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 0.001, clip: bool = False
) -> list[list[float]]:
    """Every tensor by itself; the rate changes from step to step, as under a schedule."""
    found = []
    for number, shape in enumerate(SHAPES):
        weights, speed = draw(number, shape).flatten().tolist(), [0.0] * math.prod(shape)
        for step in range(steps):
            rate, gradient = lr / (step + 1), draw(100 * step + number, shape).flatten().tolist()
            ratio = trust * length(weights) / (length(gradient) + weight_decay * length(weights) + 1e-8)
            if clip:
                ratio = min(ratio / rate, 1.0)
            for place, (w, g) in enumerate(zip(list(weights), gradient, strict=True)):
                speed[place] = momentum * speed[place] + ratio * (g + weight_decay * w)
                weights[place] = w - rate * speed[place]
        found.append(weights)
    return found


def trained(lr: float, steps: int, tensor_rate: bool = False, **settings: Any) -> list[nn.Parameter]:
    parameters = [nn.Parameter(draw(number, shape)) for number, shape in enumerate(SHAPES)]
    optimizer = LARS.create(lr=lr, **settings).make([(f"p{i}", p) for i, p in enumerate(parameters)])
    for step in range(steps):
        rate = lr / (step + 1)
        optimizer.param_groups[0]["lr"] = torch.tensor(rate, dtype=torch.float64) if tensor_rate else rate
        for number, parameter in enumerate(parameters):
            parameter.grad = draw(100 * step + number, parameter.shape)
        optimizer.step()
    return parameters


@pytest.mark.parametrize("tensor_rate", [False, True])
@pytest.mark.parametrize(
    "settings",
    [{}, {"weight_decay": 0.1}, {"momentum": 0.0}, {"trust_coeff": 0.1, "weight_decay": 0.01}],
)
@pytest.mark.parametrize("clip", [False, True])
def test_steps_are_the_looped_ones(settings: dict[str, Any], clip: bool, tensor_rate: bool) -> None:
    lr = 0.02 if clip else 4.8  # some ratios above the rate, some below
    found = trained(lr, 4, tensor_rate, trust_clip=clip, **settings)
    expected = looped(lr, 4, clip=clip, **{k.removesuffix("_coeff"): v for k, v in settings.items()})
    for parameter, values in zip(found, expected, strict=True):
        torch.testing.assert_close(parameter.detach().flatten(), torch.tensor(values).double(), rtol=1e-6, atol=1e-9)


def test_the_size_of_a_gradient_does_not_matter() -> None:
    moved = []
    for factor in (1.0, 1e4):
        weight = nn.Parameter(draw(0, (4, 3)))
        start = weight.detach().clone()
        optimizer = LARS.create(lr=2.0).make([("w", weight)])
        weight.grad = draw(1, (4, 3)) * factor
        optimizer.step()
        moved.append(weight.detach() - start)
        assert moved[-1].norm() / start.norm() == pytest.approx(2.0 * 0.001)
    torch.testing.assert_close(*moved)


@pytest.mark.parametrize(("weight", "gradient"), [(0.0, 0.5), (0.5, 0.0)])
def test_without_a_length_the_ratio_is_one(weight: float, gradient: float) -> None:
    """A bias that starts at 0 has to be able to move."""
    parameter = nn.Parameter(torch.full((3,), weight))
    optimizer = LARS.create(lr=0.1).make([("bias", parameter)])
    parameter.grad = torch.full((3,), gradient)
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.full((3,), weight - 0.1 * gradient))


def test_tensors_without_decay_can_be_left_to_plain_sgd() -> None:
    for always, moved in ((True, 0.1 * 0.001), (False, 0.1)):
        weight, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(4))
        optimizer = LARS.create(lr=0.1, weight_decay=1e-6, decay_norms=False, always_adapt=always).make(
            [("weight", weight), ("bias", bias)]
        )
        weight.grad, bias.grad = torch.ones(2, 2), torch.ones(4)
        optimizer.step()
        assert 1 - bias[0].item() == pytest.approx(moved, rel=1e-2)
        assert 1 - weight[0, 0].item() == pytest.approx(1e-4, rel=1e-2)


@pytest.mark.parametrize("setting", [{"trust_coeff": 0.0}, {"momentum": 1.0}, {"weight_decay": -1.0}, {"eps": 0.0}])
def test_bad_settings(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        LARS.create(lr=0.1, **setting)
