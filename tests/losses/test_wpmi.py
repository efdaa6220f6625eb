"""Weighted pointwise mutual information against its definition, written as loops over images, views and clusters."""

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from imcswav.errors import RecipeError
from imcswav.learners import training_only
from imcswav.losses.wpmi import WPMI
from imcswav.metrics.acc import accuracy
from imcswav.step import Output, Step


def draw(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator) * scale


def step_of(
    logits_VBK: Tensor,
    targets_VBK: Tensor | None = None,
    views: tuple[int, ...] | None = None,
    seen: tuple[int, ...] | None = None,
    global_views: int = 2,
) -> Step:
    step = Step(global_views=global_views)
    step.outputs["online.classifier"] = Output(logits_VBK, views or tuple(range(len(logits_VBK))))
    if targets_VBK is not None:
        step.outputs["teacher.classifier"] = Output(targets_VBK, seen or tuple(range(len(targets_VBK))))
    return step


def looped(
    student: dict[int, Tensor],
    teacher: dict[int, Tensor],
    prior: list[float],
    beta: float,
    tau: float,
    target_tau: float,
) -> Tensor:
    """Views by number; ``teacher`` holds the global ones alone, ``prior`` is the one after its update."""
    terms = []
    for image in range(len(next(iter(student.values())))):
        t = {g: (x_BK[image].detach() / target_tau).softmax(0).tolist() for g, x_BK in teacher.items()}
        pairs = [(g, h) for g in t for h in t if g < h]
        weight = sum(sum(a * b for a, b in zip(t[g], t[h], strict=True)) for g, h in pairs) / len(pairs)
        for g in t:
            for v, x_BK in student.items():
                if v != g:
                    s_K = (x_BK[image] / tau).softmax(0)
                    shares = [(s * t_k) ** beta / p for s, t_k, p in zip(s_K, t[g], prior, strict=True)]
                    terms.append(-weight * torch.stack(shares).sum().log())
    return torch.stack(terms).mean()


def moved(teacher: dict[int, Tensor], start: list[float], momentum: float, target_tau: float) -> list[float]:
    rows = [(row_K / target_tau).softmax(0).tolist() for x_BK in teacher.values() for row_K in x_BK.detach()]
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return [momentum * old + (1 - momentum) * new for old, new in zip(start, means, strict=True)]


@pytest.mark.parametrize(("beta", "tau", "target_tau"), [(0.6, 0.1, 0.1), (1.0, 1.0, 0.5), (0.3, 0.7, 2.0)])
def test_loss_and_gradient_are_the_loop_for_two_steps(beta: float, tau: float, target_tau: float) -> None:
    loss = WPMI.create(targets="teacher.classifier", beta=beta, temperature=tau, target_temperature=target_tau)
    prior = [1 / 4] * 4
    for seed in (1, 3):
        ours = draw(6, 8, 4, seed=seed).requires_grad_()
        theirs = ours.detach().clone().requires_grad_()
        targets_VBK = draw(3, 8, 4, seed=seed + 1)
        teacher = {0: targets_VBK[0], 1: targets_VBK[1]}  # the third view is no global one
        prior = moved(teacher, prior, 0.9, target_tau)
        value = loss(step_of(ours, targets_VBK))
        expected = looped(dict(enumerate(theirs)), teacher, prior, beta, tau, target_tau)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
        gradients = torch.autograd.grad(value, ours)[0], torch.autograd.grad(expected, theirs)[0]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-14)
        torch.testing.assert_close(loss.prior.shares.tolist(), prior, rtol=1e-12, atol=0)


def test_each_copy_has_the_loop_and_a_prior_by_itself() -> None:
    loss, priors = WPMI.create(targets="teacher.classifier"), [[1 / 4] * 4] * 3
    for seed in (1, 3):
        ours, theirs = (draw(5, 8, 3, 4, seed=seed).requires_grad_() for _ in range(2))
        targets_VBEK = draw(2, 8, 3, 4, seed=seed + 1)
        step = step_of(ours, targets_VBEK)
        value, each = loss(step), []
        for copy in range(3):
            teacher = dict(enumerate(targets_VBEK[:, :, copy]))
            priors[copy] = moved(teacher, priors[copy], 0.9, 0.1)
            each.append(looped(dict(enumerate(theirs[:, :, copy])), teacher, priors[copy], 0.6, 0.1, 0.1))
        own_E = torch.stack(each)
        torch.testing.assert_close(value, own_E.mean(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(step.reports["classifier"], own_E.detach(), rtol=1e-12, atol=1e-14)
        gradients = torch.autograd.grad(value, ours)[0], torch.autograd.grad(own_E.sum(), theirs)[0]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-14)
        torch.testing.assert_close(loss.prior.shares.tolist(), priors, rtol=1e-12, atol=0)
    effective = sum(-sum(p * math.log(p) for p in prior) for prior in priors) / 3
    assert math.isclose(step.logs["wpmi/effective_clusters"].item(), math.exp(effective), rel_tol=1e-12)
    fresh = WPMI.create()
    fresh.load_state_dict(loss.state_dict())
    assert torch.equal(fresh.prior.shares, loss.prior.shares)


def test_heads_that_saw_some_views_only() -> None:
    logits_VBK, targets_VBK = draw(3, 8, 4, seed=1), draw(3, 8, 4, seed=2)
    loss = WPMI.create(targets="teacher.classifier")
    value = loss(step_of(logits_VBK, targets_VBK, views=(1, 4, 5), seen=(2, 1, 0), global_views=3))
    teacher = {2: targets_VBK[0], 1: targets_VBK[1], 0: targets_VBK[2]}
    student = {1: logits_VBK[0], 4: logits_VBK[1], 5: logits_VBK[2]}
    expected = looped(student, teacher, moved(teacher, [0.25] * 4, 0.9, 0.1), 0.6, 0.1, 0.1)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("seen", "count"), [((0,), 1), ((2, 3), 2), ((1, 2), 2)])
def test_fewer_than_two_global_views_is_an_error(seen: tuple[int, ...], count: int) -> None:
    step = step_of(draw(6, 8, 4, seed=1), draw(count, 8, 4, seed=2), seen=seen)
    with pytest.raises(RecipeError, match="at least two global crops"):
        WPMI.create(targets="teacher.classifier")(step)


def test_gradcheck() -> None:
    targets_VBK = draw(2, 5, 3, seed=3)
    loss = WPMI.create(targets="teacher.classifier", temperature=0.5).eval()  # else each call moves the prior
    logits_VBK = draw(3, 5, 3, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda y_VBK: loss(step_of(y_VBK, targets_VBK)), logits_VBK)


def test_targets_get_no_gradient() -> None:
    logits_VBK, targets_VBK = draw(4, 8, 4, seed=1).requires_grad_(), draw(2, 8, 4, seed=2).requires_grad_()
    WPMI.create(targets="teacher.classifier")(step_of(logits_VBK, targets_VBK)).backward()
    assert targets_VBK.grad is None
    assert logits_VBK.grad is not None


def test_own_head_as_targets_is_a_detached_copy() -> None:
    ours, apart = draw(4, 8, 4, seed=1).requires_grad_(), draw(4, 8, 4, seed=1).requires_grad_()
    one = WPMI.create()(step_of(ours))
    other = WPMI.create(targets="teacher.classifier")(step_of(apart, apart.detach().clone()))
    assert one.item() == other.item()
    torch.testing.assert_close(*(torch.autograd.grad(x, y)[0] for x, y in ((one, ours), (other, apart))))


def test_two_views_may_swap() -> None:
    logits_VBK, targets_VBK = draw(2, 8, 4, seed=1), draw(2, 8, 4, seed=2)
    values = [
        WPMI.create(targets="teacher.classifier")(step_of(y_VBK, t_VBK))
        for y_VBK, t_VBK in ((logits_VBK, targets_VBK), (logits_VBK.flip(0), targets_VBK.flip(0)))
    ]
    torch.testing.assert_close(*values, rtol=1e-12, atol=0)


def test_values_at_the_ends() -> None:
    uniform_VBK, sure_VBK = torch.zeros(4, 8, 4), 30 * torch.eye(4).repeat(4, 2, 1)
    # nothing is known of any image: no mutual information, and (2 − 2β) log K of a weight 1/K for other β
    assert math.isclose(WPMI.create(beta=1.0)(step_of(uniform_VBK)).item(), 0.0, abs_tol=1e-6)
    assert math.isclose(WPMI.create(beta=0.6)(step_of(uniform_VBK)).item(), -0.8 * math.log(4) / 4, rel_tol=1e-5)
    # all is known and clusters are even
    assert math.isclose(WPMI.create()(step_of(sure_VBK)).item(), -math.log(4), rel_tol=1e-5)
    # one cluster has all, once the prior knows
    assert math.isclose(WPMI.create(momentum=0.0)(step_of(sure_VBK[:, :1])).item(), 0.0, abs_tol=1e-5)


@pytest.mark.parametrize("beta", [0.5, 0.6, 1.0])
def test_never_below_the_least(beta: float) -> None:
    loss = WPMI.create(beta=beta, momentum=0.99)
    for seed in range(20):
        assert loss(step_of(draw(4, 256, 4, seed=seed, scale=seed / 10))).item() > -math.log(4) - 0.05


def test_evaluation_leaves_the_prior() -> None:
    loss = WPMI.create()
    loss(step_of(draw(2, 8, 4, seed=1)))
    before = loss.prior.shares.clone()
    values = [loss.eval()(step_of(draw(2, 8, 4, seed=2))).item() for _ in range(2)]
    assert values[0] == values[1]
    assert torch.equal(loss.prior.shares, before)
    loss.train()(step_of(draw(2, 8, 4, seed=2)))
    assert not torch.equal(loss.prior.shares, before)


def test_prior_is_kept_in_place_and_restored() -> None:
    loss, fresh = WPMI.create(), WPMI.create()
    loss(step_of(draw(2, 8, 4, seed=1)))
    place = loss.prior.shares.data_ptr()  # what replays of a recorded step write to
    loss(step_of(draw(2, 8, 4, seed=2)))
    assert loss.prior.shares.data_ptr() == place
    fresh.load_state_dict(loss.state_dict())
    last = [each(step_of(draw(2, 8, 4, seed=3))).item() for each in (loss, deepcopy(fresh), fresh, WPMI.create())]
    assert last[0] == last[1] == last[2] != last[3]
    assert training_only(loss) == {"prior.shares"}
    WPMI.create().load_state_dict(WPMI.create().state_dict())  # before the first step


def test_underflow_gives_no_nan() -> None:
    logits_VBK = torch.zeros(4, 8, 4)
    logits_VBK[0, :, 0] = logits_VBK[1, :, 1] = 1e4  # the views disagree, and two clusters have nothing
    logits_VBK.requires_grad_()
    value = WPMI.create(momentum=0.0)(step_of(logits_VBK))
    value.backward()
    assert value.isfinite()
    assert logits_VBK.grad is not None
    assert logits_VBK.grad.isfinite().all()


def test_half_precision_and_autocast() -> None:
    logits_VBK = draw(4, 8, 4, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = [WPMI.create()(step_of(logits_VBK.to(dtype))) for dtype in (torch.bfloat16, torch.float32)]
    expected = [WPMI.create()(step_of(x_VBK.double())) for x_VBK in (logits_VBK.bfloat16(), logits_VBK)]
    for value, double in zip(values, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), double, rtol=1e-5, atol=1e-6)


def test_log_counts_clusters_in_use() -> None:
    logits_VBK = torch.zeros(4, 8, 4)
    logits_VBK[:, :4, 0] = logits_VBK[:, 4:, 1] = 50.0
    step = step_of(logits_VBK)
    WPMI.create(momentum=0.0)(step)
    assert math.isclose(step.logs["wpmi/effective_clusters"].item(), 2.0, rel_tol=1e-5)


def test_finds_blobs() -> None:
    torch.manual_seed(0)
    labels_B = torch.arange(96) % 3
    head, loss = nn.Linear(6, 3), WPMI.create(temperature=1.0, target_temperature=1.0)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    history = []
    for _ in range(150):
        views_VBF = torch.eye(3, 6)[labels_B] * 2 + torch.randn(2, 96, 6) * 0.3
        value = loss(step_of(head(views_VBF)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.append(value.item())
    assert history[-1] < -0.9 < history[0]
    assert accuracy(labels_B.numpy(), head(views_VBF[0]).argmax(1).numpy()) == 1.0
