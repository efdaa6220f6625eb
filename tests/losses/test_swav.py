"""Swapped prediction against the definition, written as loops over pairs of views."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from imcswav.errors import RecipeError
from imcswav.losses.swav import SwAV
from imcswav.step import Output, Step


def step_of(scores_VBP: Tensor, global_views: int, views: tuple[int, ...] | None = None) -> Step:
    step = Step(global_views=global_views)
    step.outputs["online.prototypes"] = Output(scores_VBP, views or tuple(range(len(scores_VBP))))
    return step


def looped(scores_VBP: Tensor, codes: dict[int, Tensor], temperature: float) -> Tensor:
    """Mean over i, v ≠ i and images, one pair and one image at a time; ``codes`` by place."""
    terms = []
    for i, codes_BP in codes.items():
        for v, scores_BP in enumerate(scores_VBP):
            if v != i:
                for q_P, u_P in zip(codes_BP, scores_BP, strict=True):
                    exps_P = (u_P / temperature).exp()
                    terms.append(-(q_P * (exps_P / exps_P.sum()).log()).sum())
    return torch.stack(terms).mean()


@pytest.fixture(name="scores_VBP")
def draw_scores() -> Tensor:
    return torch.rand(6, 8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("solver", ["sinkhorn", "softmax", "uniform", "equipartition"])
def test_loss_and_gradient_are_the_ten_term_loop(scores_VBP: Tensor, solver: str) -> None:
    loss = SwAV.create(temperature=0.2, solver=solver)
    ours, theirs = scores_VBP.clone().requires_grad_(), scores_VBP.clone().requires_grad_()
    codes_GBP = loss.solver(scores_VBP[:2])
    value = loss(step_of(ours, 2))
    expected = looped(theirs, {0: codes_GBP[0], 1: codes_GBP[1]}, 0.2)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    gradients = torch.autograd.grad(value, ours)[0], torch.autograd.grad(expected, theirs)[0]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)  # codes carry no gradient in the loop either


def test_a_head_that_saw_some_views_only(scores_VBP: Tensor) -> None:
    loss = SwAV.create(solver="softmax")
    value = loss(step_of(scores_VBP[:4], 2, views=(3, 1, 4, 5)))  # view 0, the other global one, was not seen
    codes_1BP = loss.solver(scores_VBP[1:2])
    torch.testing.assert_close(value, looped(scores_VBP[:4], {1: codes_1BP[0]}, 0.1), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("count", "views"), [(1, (0,)), (2, (2, 3))])
def test_no_pair_is_an_error(scores_VBP: Tensor, count: int, views: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match="at least one other"):
        SwAV.create()(step_of(scores_VBP[:count], 2, views=views))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_scores_give_a_float32_loss(scores_VBP: Tensor, dtype: torch.dtype) -> None:
    rounded = scores_VBP.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = SwAV.create()(step_of(rounded, 2))
    assert value.dtype == torch.float32
    expected = SwAV.create()(step_of(rounded.double(), 2))
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)


def test_huge_scores_stay_finite(scores_VBP: Tensor) -> None:
    huge = (scores_VBP.float() * 1e5).requires_grad_()
    value = SwAV.create()(step_of(huge, 2))
    value.backward()
    assert value.isfinite()
    assert huge.grad is not None
    assert huge.grad.isfinite().all()


def test_log_counts_prototypes_in_use() -> None:
    aimed = torch.full((2, 8, 4), -1.0)
    aimed[:, :4, 0] = aimed[:, 4:, 1] = 1.0  # half the images at prototype 0, half at 1
    step = step_of(aimed, 2)
    SwAV.create(solver={"name": "softmax", "temperature": 0.01})(step)
    assert math.isclose(step.logs["swav/effective_prototypes"].item(), 2.0, rel_tol=1e-5)
    SwAV.create(solver="uniform")(step)
    assert math.isclose(step.logs["swav/effective_prototypes"].item(), 4.0, rel_tol=1e-5)


def test_logs_of_codes_against_loops(scores_VBP: Tensor) -> None:
    step = step_of(scores_VBP, 2)
    loss = SwAV.create(solver={"name": "softmax", "temperature": 0.2})
    loss(step)
    codes = [code_P for view in range(2) for code_P in loss.solver(scores_VBP[view]).tolist()]
    mean = [sum(shares) / len(codes) for shares in zip(*codes, strict=True)]
    entropies = [-sum(share * math.log(share) for share in code_P) for code_P in codes]
    each = math.exp(sum(entropies) / len(entropies))
    assert math.isclose(step.logs["swav/prototypes_per_code"].item(), each, rel_tol=1e-9)
    assert math.isclose(step.logs["swav/largest_share"].item(), max(mean), rel_tol=1e-9)
    whole = math.exp(-sum(share * math.log(share) for share in mean))
    assert math.isclose(step.logs["swav/effective_prototypes"].item(), whole, rel_tol=1e-9)


def test_equal_scores_give_the_logarithm_of_the_count() -> None:
    """Codes are 1 / P exactly, and so are predictions."""
    step = step_of(torch.full((6, 8, 5), 0.3, dtype=torch.float64), 2)
    loss = SwAV.create()
    assert torch.equal(loss.solver(step["prototypes"][:2]), torch.full((2, 8, 5), 0.2, dtype=torch.float64))
    assert math.isclose(loss(step).item(), math.log(5), rel_tol=1e-12)


def learnt_prototypes(solver: str, seed: int) -> float:
    """Effective prototypes, of 8, after a linear encoder of noise without clusters was trained on two noisy views."""
    generator = torch.Generator().manual_seed(seed)
    x_BD = torch.randn(64, 8, generator=generator, dtype=torch.float64)
    weights_DF = (torch.randn(8, 4, generator=generator, dtype=torch.float64) * 0.3).requires_grad_()
    prototypes_PF = torch.randn(8, 4, generator=generator, dtype=torch.float64).requires_grad_()
    loss, optimizer = SwAV.create(solver=solver), torch.optim.Adam([weights_DF, prototypes_PF], lr=0.02)
    for _ in range(150):
        views_VBD = x_BD + 0.3 * torch.randn(2, 64, 8, generator=generator, dtype=torch.float64)
        step = step_of(normalize(views_VBD @ weights_DF, dim=-1) @ normalize(prototypes_PF, dim=-1).T, 2)
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    return step.logs["swav/effective_prototypes"].item()


@pytest.mark.parametrize("seed", range(3))
def test_balance_keeps_the_prototypes_in_use(seed: int) -> None:
    """With softmax in Sinkhorn's place they fall to half or fewer; the same on digits is in tests/results."""
    assert learnt_prototypes("sinkhorn", seed) > 6.5
    assert learnt_prototypes("softmax", seed) < 4.5
