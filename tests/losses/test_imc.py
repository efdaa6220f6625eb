"""The information loss against equation 6 and the penalty, written as loops over all pairs of views."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from imcswav.losses.imc import IMC
from imcswav.step import Output, Step


def step_of(logits_VBK: Tensor, scores_VBP: Tensor) -> Step:
    step = Step(global_views=2)
    step.outputs["online.classifier"] = Output(logits_VBK, tuple(range(len(logits_VBK))))
    step.outputs["online.prototypes"] = Output(scores_VBP, tuple(range(len(scores_VBP))))
    return step


def pair(logits_BK: Tensor, scores_BP: Tensor, temperature: float, entropy_weight: float) -> Tensor:
    """Equation 6 for one pair of views, image by image."""
    joint_KP = torch.zeros(logits_BK.shape[1], scores_BP.shape[1], dtype=logits_BK.dtype)
    for y_K, u_P in zip(logits_BK, scores_BP, strict=True):
        joint_KP = joint_KP + torch.outer(y_K.softmax(0), (u_P / temperature).softmax(0))
    joint_KP = joint_KP / joint_KP.sum()
    mass_K, mass_P = joint_KP.sum(1), joint_KP.sum(0)
    conditional = -(joint_KP * (joint_KP / mass_P).log()).sum()
    return conditional + entropy_weight * (mass_K * mass_K.log()).sum()


def looped(logits_VBK: Tensor, scores_VBP: Tensor, temperature: float, entropy_weight: float) -> Tensor:
    pairs = [pair(y_BK, u_BP, temperature, entropy_weight) for y_BK in logits_VBK for u_BP in scores_VBP.detach()]
    return torch.stack(pairs).mean()


def penalty(logits_VBK: Tensor, factor: float, threshold: float) -> float:
    views = []
    for logits_BK in logits_VBK.tolist():
        images = [sum(max(abs(y) - threshold, 0.0) for y in row) for row in logits_BK]
        views.append(sum(images) / len(images))
    return factor * sum(views) / len(views)


def draw(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator) * scale


@pytest.fixture(name="logits_VBK")
def draw_logits() -> Tensor:
    return draw(6, 16, 4, seed=1, scale=2.0)


@pytest.fixture(name="scores_VBP")
def draw_scores() -> Tensor:
    return draw(6, 16, 7, seed=2).tanh()


@pytest.mark.parametrize(("temperature", "entropy_weight"), [(0.1, 4.0), (0.5, 0.0), (1.0, 1.0)])
def test_loss_and_gradient_are_the_36_pair_loop(
    logits_VBK: Tensor, scores_VBP: Tensor, temperature: float, entropy_weight: float
) -> None:
    ours, theirs = logits_VBK.clone().requires_grad_(), logits_VBK.clone().requires_grad_()
    loss = IMC.create(temperature=temperature, entropy_weight=entropy_weight, penalty=0.0)
    value, expected = loss(step_of(ours, scores_VBP)), looped(theirs, scores_VBP, temperature, entropy_weight)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
    gradients = torch.autograd.grad(value, ours)[0], torch.autograd.grad(expected, theirs)[0]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("copies", [1, 3])
def test_each_copy_has_the_loop_by_itself(scores_VBP: Tensor, copies: int) -> None:
    ours, theirs = (draw(6, 16, copies, 4, seed=3, scale=4.0).requires_grad_() for _ in range(2))
    step = step_of(ours, scores_VBP)
    value = IMC.create(entropy_weight=2.0)(step)
    each = [looped(theirs[:, :, e], scores_VBP, 0.1, 2.0) for e in range(copies)]
    sizes = [penalty(theirs[:, :, e].detach(), 0.01, 5.0) for e in range(copies)]
    own_E = torch.stack(each) + torch.tensor(sizes, dtype=torch.float64)
    torch.testing.assert_close(value, own_E.mean(), rtol=1e-12, atol=0)
    torch.testing.assert_close(step.reports["classifier"], own_E.detach(), rtol=1e-12, atol=0)
    assert not step.reports["classifier"].requires_grad
    excess = (theirs.abs() - 5.0).relu().sum() * 0.01 / (6 * 16)
    gradients = torch.autograd.grad(value, ours)[0], torch.autograd.grad(sum(each) + excess, theirs)[0]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-15)


def test_float32_is_close_to_the_float64_loop(logits_VBK: Tensor, scores_VBP: Tensor) -> None:
    ours, theirs = logits_VBK.float().requires_grad_(), logits_VBK.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = IMC.create(penalty=0.0)(step_of(ours, scores_VBP.float()))
    expected = looped(theirs, scores_VBP, 0.1, 4.0)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-7)
    mine, reference = torch.autograd.grad(value, ours)[0], torch.autograd.grad(expected, theirs)[0]
    assert (mine - reference).norm() < 1e-5 * reference.norm()


def test_half_precision_is_promoted(logits_VBK: Tensor, scores_VBP: Tensor) -> None:
    rounded = logits_VBK.bfloat16(), scores_VBP.half()
    value = IMC.create(penalty=0.0)(step_of(*rounded))
    assert value.dtype == torch.float32
    expected = looped(rounded[0].double(), rounded[1].double(), 0.1, 4.0)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)


def test_penalty_is_a_mean_over_images_and_views(logits_VBK: Tensor, scores_VBP: Tensor) -> None:
    logits_VBK = logits_VBK * 3
    both = IMC.create(penalty=0.25, threshold=4.0)(step_of(logits_VBK, scores_VBP))
    information = IMC.create(penalty=0.0)(step_of(logits_VBK, scores_VBP))
    assert math.isclose((both - information).item(), penalty(logits_VBK, 0.25, 4.0), rel_tol=1e-12)


def test_defaults_are_the_published_ones(logits_VBK: Tensor, scores_VBP: Tensor) -> None:
    logits_VBK = logits_VBK * 4
    expected = looped(logits_VBK, scores_VBP, 0.1, 4.0) + penalty(logits_VBK, 0.01, 5.0)
    torch.testing.assert_close(IMC.create()(step_of(logits_VBK, scores_VBP)), expected, rtol=1e-12, atol=0)


def test_gradcheck() -> None:
    scores_VBP = draw(2, 5, 4, seed=3).tanh()
    loss = IMC.create(threshold=0.5)
    logits_VBK = draw(3, 5, 3, seed=4).requires_grad_()  # the two heads need not have seen the same views
    assert torch.autograd.gradcheck(lambda y_VBK: loss(step_of(y_VBK, scores_VBP)), logits_VBK)


def test_scores_get_no_gradient(logits_VBK: Tensor, scores_VBP: Tensor) -> None:
    scores_VBP.requires_grad_()
    logits_VBK.requires_grad_()
    IMC.create()(step_of(logits_VBK, scores_VBP)).backward()
    assert scores_VBP.grad is None
    assert logits_VBK.grad is not None


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_underflow_gives_no_nan(scores_VBP: Tensor, scale: float) -> None:
    # all images in one cluster: whole rows of the joint are exactly 0
    logits_VBK = torch.zeros(6, 16, 4)
    logits_VBK[..., 0] = scale
    logits_VBK.requires_grad_()
    value = IMC.create()(step_of(logits_VBK, scores_VBP.float() * scale))
    value.backward()
    assert value.isfinite()
    assert logits_VBK.grad is not None
    assert logits_VBK.grad.isfinite().all()


def test_log_counts_clusters_in_use(scores_VBP: Tensor) -> None:
    logits_VBK = torch.full((6, 16, 4), -50.0)
    logits_VBK[:, :8, 0] = logits_VBK[:, 8:, 1] = 50.0
    step = step_of(logits_VBK, scores_VBP.float())
    IMC.create()(step)
    assert math.isclose(step.logs["imc/effective_clusters"].item(), 2.0, rel_tol=1e-5)


@pytest.mark.parametrize("entropy_weight", [0.0, 1.0, 4.0])
def test_log_of_the_information(logits_VBK: Tensor, scores_VBP: Tensor, entropy_weight: float) -> None:
    step = step_of(logits_VBK, scores_VBP)
    IMC.create(entropy_weight=entropy_weight)(step)
    expected = -looped(logits_VBK, scores_VBP, 0.1, 1.0)  # with β = 1 the loss is the information's negative
    torch.testing.assert_close(step.logs["imc/information"], expected.detach(), rtol=1e-9, atol=1e-12)


class Count(TorchDispatchMode):
    """Counts aten operations that are not mere views."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        aliases = [value.alias_info for value in func._schema.returns]
        self.operations += not any(alias is not None and not alias.is_write for alias in aliases)
        return func(*args, **(kwargs or {}))


def test_at_most_60_operations(logits_VBK: Tensor, scores_VBP: Tensor) -> None:
    logits_VBK, scores_VBP = logits_VBK.float().requires_grad_(), scores_VBP.float()
    loss = IMC.create()
    with Count() as counted:
        loss(step_of(logits_VBK, scores_VBP)).backward()
    with Count() as naive:
        looped(logits_VBK, scores_VBP, 0.1, 4.0).backward()
    assert 10 < counted.operations <= 60
    assert naive.operations > 1000  # the count does see operations
