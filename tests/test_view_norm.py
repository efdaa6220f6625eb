"""Batch norm per view in channels-last memory, against one call a view."""

import copy

import pytest
import torch
from torch import nn

from imcswav.batchnorm import per_view, views_in_batch
from imcswav.view_norm import ViewNorm

VIEWS, IMAGES = 3, 4


def batch(dtype=torch.float64):
    torch.manual_seed(0)
    scale = torch.tensor([1.0, 2, 5]).repeat(IMAGES).view(-1, 1, 1, 1)  # the views differ in their statistics
    return (torch.randn(IMAGES * VIEWS, 6, 5, 5) * scale).to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("settings", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}])
def test_equals_one_call_a_view(settings, monkeypatch):
    calls = []
    apply = ViewNorm.apply
    monkeypatch.setattr(ViewNorm, "apply", lambda *arguments: calls.append(1) or apply(*arguments))
    single = nn.BatchNorm2d(6, **settings).double()
    if single.affine:
        nn.init.normal_(single.weight)
        nn.init.normal_(single.bias)
    joint = copy.deepcopy(single)
    per_view(joint)
    one, other = (batch().clone(memory_format=torch.preserve_format).requires_grad_() for _ in range(2))
    apart = torch.stack([single(view) for view in one.unflatten(0, (IMAGES, VIEWS)).unbind(1)], 1).flatten(0, 1)
    with views_in_batch(joint, VIEWS):
        together = joint(other)
    assert calls == [1]
    weights = torch.randn_like(apart)
    (apart * weights).sum().backward()
    (together * weights).sum().backward()
    found = [together, other.grad, *(p.grad for p in joint.parameters()), *joint.buffers()]
    wanted = [apart, one.grad, *(p.grad for p in single.parameters()), *single.buffers()]
    for left, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-10)
    assert together.is_contiguous(memory_format=torch.channels_last)


def test_the_gradient_is_that_of_finite_differences():
    x, weight, bias = batch().requires_grad_(), torch.rand(6).double().requires_grad_(), torch.zeros(6).double()
    torch.autograd.gradcheck(lambda *given: ViewNorm.apply(*given, VIEWS, 1e-5)[0], (x, weight, bias.requires_grad_()))


def test_half_precision_is_summed_in_float32():
    x = batch(torch.bfloat16)
    y, mean_VC, _ = ViewNorm.apply(x, torch.ones(6), torch.zeros(6), VIEWS, 1e-5)
    assert y.dtype == torch.bfloat16
    views = x.double().unflatten(0, (IMAGES, VIEWS))
    torch.testing.assert_close(mean_VC.double(), views.mean((0, 3, 4)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mean", [0.0, 30.0, 1000.0])
def test_a_mean_far_from_zero_costs_few_digits(mean):
    """Deviation 1: of the squares of the numbers themselves float32 would leave little of the variance."""
    torch.manual_seed(0)
    x = (torch.randn(64, 6, 8, 8) + mean).contiguous(memory_format=torch.channels_last)
    y, means_VC, variances_VC = ViewNorm.apply(x, torch.ones(6), torch.zeros(6), 1, 0.0)
    variance, exact = torch.var_mean(x.double(), (0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(variances_VC.double(), variance.view(1, 6), rtol=1e-4, atol=0)
    torch.testing.assert_close(means_VC.double(), exact.view(1, 6), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(y.double(), (x.double() - exact) / variance.sqrt(), rtol=0, atol=5e-4)


def test_a_relu_in_place_behind_it_is_not_copied():
    layer = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(inplace=True)).double()
    per_view(layer)
    with views_in_batch(layer, VIEWS), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        layer(batch().requires_grad_()).sum().backward()
    assert "CopySlices" not in {event.key for event in seen.key_averages()}
