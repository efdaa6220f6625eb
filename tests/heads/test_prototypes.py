"""Prototype scores, and what freezing means to a real optimiser."""

import math

import pytest
import torch

from imcswav.heads.prototypes import Prototypes
from imcswav.step import Progress


def progress(step: int) -> Progress:
    return Progress(step=step, epoch=0, steps=100, steps_per_epoch=10)


def train(head: Prototypes, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        head.before_step(progress(step))
        optimizer.zero_grad(set_to_none=True)
        (head(torch.randn(16, head.in_features)) ** 3).sum().backward()
        head.before_update(progress(step))
        optimizer.step()


def test_scores_are_cosines() -> None:
    head = Prototypes.create(in_features=5, clusters=2, count=7).double()
    head.before_step(progress(0))
    x_MD = torch.randn(4, 5, dtype=torch.float64) * 10
    scores_MP = head(x_MD)
    assert scores_MP.shape == (4, 7)
    for m, x in enumerate(x_MD.tolist()):
        for p, w in enumerate(head.weight.tolist()):
            dot = sum(a * b for a, b in zip(x, w, strict=True))
            lengths = math.hypot(*x) * math.hypot(*w)
            assert scores_MP[m, p].item() == pytest.approx(dot / lengths, rel=1e-12)


def test_starts_as_a_linear_layer_with_unit_rows() -> None:
    torch.manual_seed(3)
    head = Prototypes.create(in_features=5, clusters=2, count=7)
    torch.manual_seed(3)
    weight = torch.nn.Linear(5, 7, bias=False).weight
    torch.testing.assert_close(head.weight, weight / weight.norm(dim=1, keepdim=True))
    assert [name for name, _ in head.named_parameters()] == ["weight"]
    assert head.weight.requires_grad


def test_float32_under_autocast() -> None:
    head = Prototypes.create(in_features=16, clusters=2, count=7)
    x_MD = torch.randn(4, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores_MP, rounded_MP = head(x_MD), head(x_MD.bfloat16())
    assert scores_MP.dtype == rounded_MP.dtype == torch.float32
    assert torch.equal(scores_MP, head(x_MD))
    assert torch.equal(rounded_MP, head(x_MD.bfloat16().float()))


def test_any_embeddings_can_be_scored() -> None:
    head = Prototypes.create(in_features=5, clusters=2, count=7)
    queue = torch.randn(2, 3, 5)
    torch.testing.assert_close(head.score(queue).flatten(0, 1), head(queue.flatten(0, 1)))


def test_rows_are_scaled_in_place_before_a_step() -> None:
    head = Prototypes.create(in_features=5, clusters=2, count=7)
    parameter, place = head.weight, head.weight.data_ptr()
    with torch.no_grad():
        head.weight.mul_(torch.rand(7, 1) + 0.5)
    wanted = head.weight / head.weight.norm(dim=1, keepdim=True)
    head.before_step(progress(0))
    torch.testing.assert_close(head.weight, wanted)
    assert head.weight is parameter
    assert head.weight.data_ptr() == place


def test_frozen_prototypes_have_no_decay_and_no_state() -> None:
    head = Prototypes.create(in_features=5, clusters=2, count=7, freeze_steps=3)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1, weight_decay=0.1)
    start = head.weight.detach().clone()
    train(head, optimizer, range(3))
    torch.testing.assert_close(head.weight.detach(), start, rtol=0, atol=1e-6)  # scaling back rounds
    assert not optimizer.state
    train(head, optimizer, range(3, 4))
    assert optimizer.state[head.weight]["step"] == 1
    assert (head.weight.detach() - start).abs().max() > 0.01


def test_a_zero_gradient_would_move_them() -> None:
    """Why the gradient is taken away: Adam with decay moves a parameter whose gradient is 0."""
    head = Prototypes.create(in_features=5, clusters=2, count=7)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1, weight_decay=0.1)
    start = head.weight.detach().clone()
    head.weight.grad = torch.zeros_like(head.weight)
    optimizer.step()
    assert (head.weight.detach() - start).abs().max() > 0.01


def test_without_freezing_the_first_step_moves_them() -> None:
    head = Prototypes.create(in_features=5, clusters=2, count=7)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    start = head.weight.detach().clone()
    train(head, optimizer, range(1))
    assert (head.weight.detach() - start).abs().max() > 0.01


def test_outside_of_training_scores_are_cosines_whatever_the_last_step_made_of_the_rows() -> None:
    head = Prototypes.create(in_features=5, clusters=2, count=7)
    with torch.no_grad():
        head.weight.mul_(torch.rand(7, 1) + 0.5)
    x_MD = torch.randn(4, 5)
    expected = torch.nn.functional.cosine_similarity(x_MD[:, None], head.weight[None], dim=-1)
    torch.testing.assert_close(head.eval()(x_MD), expected)
