"""Copies of a perceptron in batched products against perceptrons of their own, and the choice among them."""

from typing import Any

import pytest
import torch
from torch import nn

from imcswav.batchnorm import per_view, views_in_batch
from imcswav.bench.counts import count
from imcswav.heads import COPY_MOMENTUM
from imcswav.heads.mlp import MLP

COPIES, VIEWS, IMAGES, FEATURES = 3, 2, 6, 4
SETTINGS = {
    "plain": {},
    "no bias": {"hidden": [5], "bias": False},
    "gelu": {"hidden": [5, 7], "activation": "gelu", "normalize": True},
    "batch norm": {"hidden": [5], "norm": "batch"},
    "deep": {"hidden": [5, 7], "norm": "batch", "normalize": True},
}


def make(copies: int = COPIES, **settings: Any) -> MLP:
    torch.manual_seed(0)
    return MLP.create(in_features=FEATURES, clusters=3, width="clusters", copies=copies, **settings).double()


def apart(head: MLP, **settings: Any) -> list[MLP]:
    """The copies as heads of their own, with the numbers of the joint one, copy after copy."""
    heads = [make(1, **settings) for _ in range(head.copies)]
    joint = head.state_dict()
    for number, lone in enumerate(heads):
        for name, value in lone.state_dict().items():
            shared = name.endswith("num_batches_tracked")
            value.copy_(joint[name] if shared else joint[name].reshape(head.copies, *value.shape)[number])
    return heads


def stacked(values: list[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    return torch.stack(values).reshape(like.shape)


@pytest.mark.parametrize("statistics", ["pooled", "per_view"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_copies_are_heads_of_their_own(settings: dict[str, Any], statistics: str) -> None:
    joint = make(**settings)
    lone = apart(joint, **settings)
    if statistics == "per_view":
        for head in (joint, *lone):
            per_view(head)
    x_MF = torch.randn(VIEWS * IMAGES, FEATURES, dtype=torch.float64) * torch.tensor([1.0, 4.0]).repeat(IMAGES)[:, None]
    ours, theirs = x_MF.clone().requires_grad_(), x_MF.clone().requires_grad_()
    with views_in_batch(joint, VIEWS):
        y_MEK = joint(ours)
    each = []
    for head in lone:
        with views_in_batch(head, VIEWS):
            each.append(head(theirs))
    assert y_MEK.shape == (VIEWS * IMAGES, COPIES, 3)
    torch.testing.assert_close(y_MEK, torch.stack(each, 1), rtol=0, atol=1e-12)
    factors = torch.randn_like(y_MEK)
    (y_MEK * factors).sum().backward()
    (torch.stack(each, 1) * factors).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-12)
    parts = [dict(head.named_parameters()) for head in lone]
    for name, parameter in joint.named_parameters():
        assert parameter.grad is not None
        gradients = [part[name].grad for part in parts]
        expected = stacked([gradient for gradient in gradients if gradient is not None], parameter)
        torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=1e-12, msg=name)
    buffers = [dict(head.named_buffers()) for head in lone]
    for name, buffer in joint.named_buffers():
        if name.endswith(("mean", "var")):
            values = [part[name] for part in buffers]
            torch.testing.assert_close(buffer, stacked(values, buffer), rtol=0, atol=1e-12, msg=name)
    with torch.no_grad():  # by the running statistics
        expected = torch.stack([head.eval()(x_MF) for head in lone], 1)
        torch.testing.assert_close(joint.eval()(x_MF), expected, rtol=0, atol=1e-12)


def test_one_copy_is_the_head_without_copies() -> None:
    torch.manual_seed(7)
    layers = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 7), nn.BatchNorm1d(7), nn.ReLU())
    layers.append(nn.Linear(7, 3))
    following = torch.rand(3)
    torch.manual_seed(7)
    head = MLP.create(in_features=4, clusters=3, width="clusters", hidden=[6, 7], norm="batch")
    assert torch.equal(torch.rand(3), following)  # so whatever is built after it draws the same
    assert list(head.state_dict()) == [f"layers.{name}" for name in layers.state_dict()]
    for ours, theirs in zip(head.state_dict().values(), layers.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    x = torch.randn(8, 4)
    assert torch.equal(head(x), layers(x))
    assert torch.equal(head.chosen(head(x)), head(x))


def test_weights_start_as_those_of_a_linear_of_the_copys_own_inputs() -> None:
    torch.manual_seed(0)
    head = MLP.create(in_features=10, clusters=3, width=40, hidden=[60], copies=4)
    first, second = head.layers
    for layer, inputs in ((first, 10), (second, 60)):
        for values_E in (layer.weight.view(4, -1), layer.bias.view(4, -1)):
            bound = inputs**-0.5
            assert values_E.abs().max() <= bound
            assert (values_E.abs().amax(1) > 0.9 * bound).all()
            assert ((values_E / bound).std(1) - 3**-0.5).abs().max() < 0.15  # evenly between the bounds
            assert len({row[0] for row in values_E.tolist()}) == 4
    # what spares biases from weight decay goes by their single dimension
    assert {p.ndim for name, p in head.named_parameters() if name.endswith("bias")} == {1}


def test_operations_do_not_grow_with_copies() -> None:
    def operations(copies: int) -> int:
        head = make(copies, **SETTINGS["deep"])
        per_view(head)
        x_MF = torch.randn(VIEWS * IMAGES, FEATURES, dtype=torch.float64)
        with views_in_batch(head, VIEWS):
            return count(lambda: head(x_MF).square().sum().backward()).operations

    assert 20 < operations(2) == operations(16)


def test_the_copy_of_the_lowest_running_loss_is_chosen() -> None:
    head = make()
    rows = torch.randn(5, COPIES, 3, dtype=torch.float64)
    place, running = head.copy_losses.data_ptr(), [0.0] * COPIES
    for losses in ([-3.0, -4.0, -5.0], [-3.0, -9.0, -5.0], [-3.0, -4.0, -5.1]):
        head.rank(torch.tensor(losses, dtype=torch.float64))
        running = [COPY_MOMENTUM * old + (1 - COPY_MOMENTUM) * new for old, new in zip(running, losses, strict=True)]
    torch.testing.assert_close(head.copy_losses.tolist(), running, rtol=1e-12, atol=0)
    assert head.copy_losses.data_ptr() == place  # what replays of a recorded step write to
    assert torch.equal(head.chosen(rows), rows[:, 1])
    head.eval().rank(torch.tensor([-999.0, 0.0, 0.0]))
    assert torch.equal(head.chosen(rows), rows[:, 1])
    for _ in range(200):
        head.train().rank(torch.tensor([-3.0, -4.0, -5.0]))
    assert torch.equal(head.chosen(rows), rows[:, 2])


def test_no_copies_is_no_head() -> None:
    with pytest.raises(ValueError, match="copies"):
        make(0)
