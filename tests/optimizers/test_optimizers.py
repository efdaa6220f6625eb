"""Every optimiser: fused, settings passed on, and parameters without a gradient left alone."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

from imcswav.optimizers import Optimizer
from imcswav.optimizers.adam import Adam
from imcswav.optimizers.adamw import AdamW
from imcswav.optimizers.sgd import SGD

CASES: list[tuple[type[Optimizer], dict[str, Any], Any]] = [
    (Adam, {"betas": (0.8, 0.99), "weight_decay": 0.1, "eps": 1e-6}, torch.optim.Adam),
    (AdamW, {"betas": (0.8, 0.99), "weight_decay": 0.1, "eps": 1e-6}, torch.optim.AdamW),
    (SGD, {"momentum": 0.8, "weight_decay": 0.1, "nesterov": True}, torch.optim.SGD),
    (SGD, {"momentum": 0.0}, torch.optim.SGD),
]


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(4, 3, dtype=dtype, generator=generator)) for _ in range(2)]


def named(parameters: Iterable[nn.Parameter]) -> Iterable[tuple[str, nn.Parameter]]:
    return ((f"p{number}", parameter) for number, parameter in enumerate(parameters))


def run(optimizer: torch.optim.Optimizer, moving: nn.Parameter) -> None:
    generator = torch.Generator().manual_seed(2)
    for _ in range(4):
        optimizer.zero_grad(set_to_none=True)
        moving.grad = torch.randn(4, 3, dtype=torch.float64, generator=generator).to(moving.dtype)
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("cls", "settings", "reference"), CASES)
def test_fused_equals_the_plain_loop(
    cls: type[Optimizer], settings: dict[str, Any], reference: Any, dtype: torch.dtype
) -> None:
    ours, theirs = parameters(dtype), parameters(dtype)
    optimizer = cls.create(lr=0.05, **settings).make(named(ours))  # any iterable will do
    assert optimizer.param_groups[0]["fused"] is True
    run(optimizer, ours[0])
    run(reference(theirs, lr=0.05, foreach=False, fused=False, **settings), theirs[0])
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("cls", "settings", "reference"), CASES)
def test_no_gradient_means_no_decay_and_no_state(
    cls: type[Optimizer], settings: dict[str, Any], reference: Any
) -> None:
    moving, resting = parameters(torch.float32)
    start = resting.detach().clone()
    optimizer = cls.create(lr=0.05, **settings).make(named([moving, resting]))
    assert isinstance(optimizer, reference)
    run(optimizer, moving)
    assert torch.equal(resting, start)
    assert resting not in optimizer.state


def test_adam_adds_decay_to_the_gradient_and_adamw_does_not() -> None:
    moved = []
    for cls in (Adam, AdamW):
        parameter = nn.Parameter(torch.full((1,), 10.0))
        optimizer = cls.create(lr=0.1, weight_decay=0.5).make(named([parameter]))
        parameter.grad = torch.zeros(1)
        optimizer.step()
        moved.append(10 - parameter.item())
    assert moved[0] == pytest.approx(0.1, rel=1e-4)  # a first Adam step has length lr whatever the gradient
    assert moved[1] == pytest.approx(0.1 * 0.5 * 10, rel=1e-4)


@pytest.mark.parametrize(
    ("cls", "settings", "word"),
    [
        (Adam, {"lr": 0.0}, "lr"),
        (Adam, {"lr": 0.1, "betas": (1.0, 0.9)}, "betas"),
        (AdamW, {"lr": 0.1, "weight_decay": -1}, "weight_decay"),
        (SGD, {"lr": 0.1, "momentum": 1.0}, "momentum"),
        (SGD, {"lr": 0.1, "momentum": 0.0, "nesterov": True}, "nesterov"),
    ],
)
def test_bad_settings(cls: type[Optimizer], settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        cls.create(**settings)


@pytest.mark.parametrize(("cls", "settings", "reference"), CASES)
def test_nothing_to_train_is_no_mistake(cls: type[Optimizer], settings: dict[str, Any], reference: Any) -> None:
    optimizer = cls.create(lr=0.05, **settings).make([])
    assert [group["params"] for group in optimizer.param_groups] == [[]]
    assert optimizer.param_groups[0]["lr"] == 0.05
    optimizer.step()
    again = cls.create(lr=0.05, **settings).make([])
    again.load_state_dict(optimizer.state_dict())  # as a resumed run does
    assert not again.state
