"""BYOL's loss against loops over pairs of views and images."""

import pytest
import torch
from torch import Tensor

from imcswav.errors import RecipeError
from imcswav.losses.byol import BYOL
from imcswav.step import Output, Step


def draw(views: int, seed: int) -> Tensor:
    return torch.randn(views, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def step_of(predictions: Output, targets: Output, global_views: int = 2) -> Step:
    step = Step(global_views=global_views)
    step.outputs = {"online.predictor": predictions, "teacher.projection": targets}
    return step


def looped(predictions: Output, targets: Output, global_views: int, local: bool) -> Tensor:
    terms = []
    for p_BD, v in zip(predictions.tensor, predictions.views, strict=True):
        for z_BD, g in zip(targets.tensor, targets.views, strict=True):
            if v == g or g >= global_views or (v >= global_views and not local):
                continue
            for p_D, z_D in zip(p_BD, z_BD, strict=True):
                p_D, z_D = p_D / (p_D * p_D).sum().sqrt(), (z_D / (z_D * z_D).sum().sqrt()).detach()
                terms.append(((p_D - z_D) ** 2).sum())  # equation 2
    return torch.stack(terms).mean()


@pytest.mark.parametrize(("views", "local"), [("global", False), ("all", True)])
@pytest.mark.parametrize(("seen", "aims"), [((0, 1, 2, 3), (0, 1)), ((3, 1, 0), (1, 2, 0)), ((2, 1), (0,))])
def test_values_and_gradients(views: str, local: bool, seen: tuple[int, ...], aims: tuple[int, ...]) -> None:
    ours, theirs = (draw(len(seen), 1).requires_grad_() for _ in range(2))
    targets = Output(draw(len(aims), 2).requires_grad_(), aims)
    step = step_of(Output(ours, seen), targets)
    value = BYOL.create(views=views)(step)
    expected = looped(Output(theirs, seen), targets, 2, local)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(step.logs["byol/cosine"], (1 - expected / 2).detach(), rtol=1e-12, atol=1e-14)
    gradients = torch.autograd.grad(value, ours)[0], torch.autograd.grad(expected, theirs)[0]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)
    value = BYOL.create(views=views)(step)
    assert torch.autograd.grad(value, targets.tensor, allow_unused=True) == (None,)  # targets carry no gradient


def test_from_full_agreement_to_none() -> None:
    z_GBD = draw(1, 3).repeat(2, 1, 1)
    for sign, expected in ((1, 0.0), (-1, 4.0)):
        value = BYOL.create()(step_of(Output(3 * sign * z_GBD, (0, 1)), Output(z_GBD, (0, 1))))
        assert value.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("seen", "aims", "views"),
    [
        ((0,), (0,), "all"),  # a single view
        ((0, 2, 3), (0,), "global"),  # only local ones could predict
        ((0, 1), (2, 3), "all"),  # no target is global
    ],
)
def test_no_pair_is_an_error(seen: tuple[int, ...], aims: tuple[int, ...], views: str) -> None:
    step = step_of(Output(draw(len(seen), 1), seen), Output(draw(len(aims), 2), aims))
    with pytest.raises(RecipeError, match="no view can predict another"):
        BYOL.create(views=views)(step)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_gives_a_float32_loss(dtype: torch.dtype) -> None:
    outputs = [Output(draw(2, seed).to(dtype), (0, 1)) for seed in (1, 2)]
    value = BYOL.create()(step_of(*outputs))
    wide = [Output(output.tensor.double(), (0, 1)) for output in outputs]
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(BYOL.create()(step_of(*wide)).item(), rel=1e-5)
