"""Batches side by side give what they give one after another: results, gradients, running statistics."""

import copy

import pytest
import torch
from tiny import batch, learner
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from imcswav.batchnorm import per_view, views_in_batch
from imcswav.recording import Cuda
from imcswav.side_by_side import SideBySide, can_pass_aside
from imcswav.step import Progress

STEPS = 4


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5, momentum=0.3))

    def forward(self, x):
        return self.two(self.one(x)).mean((2, 3))


class InOrder:
    """What side by side has to equal."""

    def __init__(self, module):
        pass

    def __call__(self, function, batches):
        return [function(batch) for batch in batches]


def net_of(norm, device="cpu", dtype=torch.float64):
    torch.manual_seed(0)
    net = Net().to(device, dtype)
    if norm == "per_view":
        per_view(net)
    return net


def crops(step, device="cpu", dtype=torch.float64, images=5):
    """Three sizes, each of so many views that none is taken for another."""
    generator = torch.Generator().manual_seed(step)
    sizes = ((2, 9), (4, 6), (1, 7))
    return [torch.randn(v, images, 2, s, s, generator=generator).to(device, dtype) * v + s for v, s in sizes]


def train(net, way, steps=STEPS, **where):
    """Steps of gradient descent: the last results, and all the network's tensors."""
    side, rate = way(net), 0.05

    def encode(views_VBCHW):
        with views_in_batch(net, len(views_VBCHW)):
            return net(views_VBCHW.transpose(0, 1).flatten(0, 1))

    for step in range(steps):
        results = side(encode, crops(step, **where))
        loss = torch.cat([result.pow(2).sum(1) * (number + 1) for number, result in enumerate(results)]).mean()
        for parameter, gradient in zip(net.parameters(), torch.autograd.grad(loss, net.parameters()), strict=True):
            parameter.data -= rate * gradient
    return [result.detach() for result in results], dict(net.state_dict())


@pytest.mark.parametrize("norm", ["per_view", "pooled"])
def test_side_by_side_equals_one_after_another(norm):
    start = net_of(norm)
    (ours, state), (plain, wanted) = (train(copy.deepcopy(start), way) for way in (SideBySide, InOrder))
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, wanted, rtol=0, atol=1e-12)
    assert state["one.1.num_batches_tracked"] == STEPS * (7 if norm == "per_view" else 3)


def test_a_pass_that_fails_leaves_the_statistics_alone():
    net = net_of("per_view")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    kept = net.one[1].running_mean

    def fail(views_VBCHW):
        if len(views_VBCHW) == 4:
            net(views_VBCHW.flatten(0, 1))
            raise KeyError("no such thing")
        return views_VBCHW

    with pytest.raises(KeyError, match="no such thing"):
        SideBySide(net)(fail, crops(0))
    assert net.one[1].running_mean is kept
    torch.testing.assert_close(dict(net.state_dict()), before, rtol=0, atol=0)


def test_a_network_need_not_keep_statistics():
    net = nn.Linear(3, 2)
    one, other = torch.ones(4, 3), torch.zeros(5, 3)
    assert [len(result) for result in SideBySide(net)(net, [one, other])] == [4, 5]


def test_plain_means_depend_on_what_was_before():
    net = net_of("pooled")
    assert can_pass_aside(net)
    net.two[1].momentum = None
    assert not can_pass_aside(net)
    assert can_pass_aside(nn.Linear(2, 2))


@pytest.mark.parametrize("norm", ["per_view", "pooled"])
def test_a_learner_compiled_size_by_size_trains_as_ever(norm, monkeypatch):
    counter, real = CompileCounterWithBackend("aot_eager"), torch.compile
    monkeypatch.setattr(torch, "compile", lambda part, **options: real(part, backend=counter, **options))
    compilations = []

    def run(apart):
        model = learner(batch_norm=norm).train()
        if apart:
            monkeypatch.setattr("imcswav.learners._compiling.sizes_side_by_side", lambda net: True)
            model.compile_parts()
        losses = []
        for step in range(STEPS):
            scalars = model(batch(), Progress(step, 0, STEPS, STEPS), torch.tensor(step))
            scalars["loss"].backward()
            for parameter in model.parameters():
                parameter.data -= 0 if parameter.grad is None else 0.05 * parameter.grad
                parameter.grad = None
            losses.append(scalars["loss"].item())
            compilations.append(counter.frame_count)
        return losses, dict(model.state_dict())

    (losses, state), (wanted, plain) = run(apart=True), run(apart=False)
    assert compilations[0] == compilations[STEPS - 1] > 0  # statistics that come and go are no reason to begin anew
    assert losses == pytest.approx(wanted, abs=1e-3)
    torch.testing.assert_close(state, plain, rtol=1e-2, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("norm", ["per_view", "pooled"])
def test_streams_equal_one_after_another(norm):
    where = {"steps": 20, "device": "cuda", "images": 64}
    start = net_of(norm, "cuda")
    for _ in range(5):  # a race need not show at once
        (ours, state), (plain, wanted) = (train(copy.deepcopy(start), way, **where) for way in (SideBySide, InOrder))
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(state, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_streams_can_be_recorded():
    net = net_of("per_view", "cuda")
    twin, given = copy.deepcopy(net), crops(0, device="cuda", images=64)

    def step(way, of):
        def encode(views_VBCHW):
            with views_in_batch(of, len(views_VBCHW)):
                return of(views_VBCHW.transpose(0, 1).flatten(0, 1))

        return {"sum": torch.cat([result.flatten() for result in way(encode, given)]).sum()}

    side, recorder = SideBySide(net), Cuda(torch.device("cuda"))
    with torch.no_grad():
        for _ in range(2):
            recorder.eagerly(lambda: step(side, net))
        replay = recorder.record(lambda: step(side, net))
        for _ in range(3):
            replay()
        for _ in range(5):
            step(InOrder(twin), twin)
    torch.testing.assert_close(dict(net.state_dict()), dict(twin.state_dict()), rtol=1e-9, atol=1e-9)
