"""Batches side by side give what they give one after another: results, gradients, running statistics."""

import copy

import pytest
import torch
from tiny import batch, learner
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from imcswav.batchnorm import per_view, share_statistics, views_in_batch
from imcswav.bench.counts import count
from imcswav.recording import Cuda
from imcswav.side_by_side import SideBySide, _no_shared_casts, can_pass_aside
from imcswav.step import Progress

STEPS = 4


class Net(nn.Module):
    """With a layer that goes its way twice and one that never does."""

    def __init__(self, width=6):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(2, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.twice = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width, momentum=0.2))
        self.two = nn.Sequential(nn.Conv2d(width, 5, 3, padding=1), nn.BatchNorm2d(5, momentum=0.3))
        self.never = nn.BatchNorm2d(3)
        self.never.running_mean.fill_(3)

    def forward(self, x):
        return self.two(self.twice(self.twice(self.one(x)))).mean((2, 3))


class InOrder:
    """What side by side has to equal."""

    def __init__(self, module):
        pass

    def __call__(self, function, batches):
        return [function(batch) for batch in batches]


def net_of(norm, device="cpu", width=6):
    torch.manual_seed(0)
    net = Net(width).to(device, torch.float64)
    if norm == "per_view":
        per_view(net)
    if norm == "shared":  # by processes: pooled, in a class that could tell views apart
        share_statistics(net)
    return net


def crops(step, device="cpu", images=5):
    """Three sizes, each of so many views that none is taken for another."""
    generator = torch.Generator().manual_seed(step)
    sizes = ((2, 9), (4, 6), (1, 7))
    drawn = [torch.randn(v, images, 2, s, s, generator=generator, dtype=torch.float64) * v + s for v, s in sizes]
    return [group.to(device) for group in drawn]


def encoder(net):
    def encode(views_VBCHW):
        with views_in_batch(net, len(views_VBCHW)):
            return net(views_VBCHW.transpose(0, 1).flatten(0, 1))

    return encode


def step(side, net, given, rate=0.05):
    """A step of gradient descent; the results before it."""
    results = side(encoder(net), given)
    for parameter in net.parameters():
        parameter.grad = None
    torch.cat([result.pow(2).sum(1) * (number + 1) for number, result in enumerate(results)]).mean().backward()
    for parameter in net.parameters():
        if parameter.grad is not None:
            parameter.data -= rate * parameter.grad
    return [result.detach() for result in results]


def train(net, way, steps=STEPS, **where):
    """The last step's results, and all the network's tensors."""
    side = way(net)
    for number in range(steps):
        results = step(side, net, crops(number, **where))
    return results, dict(net.state_dict())


@pytest.mark.parametrize("norm", ["per_view", "pooled", "shared"])
@pytest.mark.parametrize("resting", [False, True])
def test_side_by_side_equals_one_after_another(norm, resting):
    start = net_of(norm)
    if resting:
        start.one.eval()
    (ours, state), (plain, wanted) = (train(copy.deepcopy(start), way) for way in (SideBySide, InOrder))
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, wanted, rtol=0, atol=1e-12)
    assert state["two.1.num_batches_tracked"] == STEPS * (7 if norm == "per_view" else 3)


def test_nothing_waits_for_the_host():
    net, given = net_of("per_view"), crops(0)
    side = SideBySide(net)
    assert count(lambda: step(side, net, given)).waits == {}
    assert count(lambda: side(lambda batch: batch.cpu(), given)).waits  # the check can fail


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
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False))
    one, other = torch.ones(4, 3), torch.zeros(5, 3)
    assert [len(result) for result in SideBySide(net)(net, [one, other])] == [4, 5]


def test_what_can_be_kept_aside():
    net = net_of("pooled")
    assert can_pass_aside(net)
    assert can_pass_aside(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.InstanceNorm2d(2)))
    assert not can_pass_aside(nn.InstanceNorm2d(2, track_running_stats=True))
    assert not can_pass_aside(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)))
    net.two[1].momentum = None  # a plain mean
    assert not can_pass_aside(net)


@pytest.mark.parametrize("enabled", [True, False])
def test_casts_of_weights_are_not_kept_for_another_stream(enabled):
    layer, seen = nn.Linear(2, 2), []
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        for shared in (True, False):
            with torch.autocast("cpu", torch.bfloat16, enabled) if shared else _no_shared_casts("cpu"):
                assert layer(torch.ones(1, 2)).dtype == (torch.bfloat16 if enabled else torch.float32)
                seen.append(torch.is_autocast_cache_enabled())
        assert torch.is_autocast_cache_enabled()
    assert seen == [True, False]


ONE_SIZE = {"views": {"name": "multicrop", "crops": [{"count": 2, "size": 10, "scale": [0.4, 1.0]}]}}


@pytest.mark.parametrize(
    ("gpu", "processes", "changes", "wanted"),
    [
        (True, 1, {}, True),
        (False, 1, {}, False),
        (True, 2, {}, False),
        (True, 1, ONE_SIZE, False),
        (True, 1, {"micro_batch": 4}, False),
        (True, 1, {"activation_checkpointing": True}, False),
    ],
)
def test_when_a_learner_does_it(gpu, processes, changes, wanted, monkeypatch):
    monkeypatch.setattr("imcswav.learners._compiling._on_gpu", lambda net: gpu)
    monkeypatch.setattr("imcswav.learners._compiling.world_size", lambda: processes)
    model = learner(**changes)
    model.compile_parts()
    way = model._compiled.get("online")
    assert (getattr(way, "__qualname__", "").startswith("_size_by_size")) is wanted
    assert (way is not None) is not any(name in changes for name in ("micro_batch", "activation_checkpointing"))


def test_plain_means_are_not_taken_aside(monkeypatch):
    monkeypatch.setattr("imcswav.learners._compiling._on_gpu", lambda net: True)
    model = learner()
    next(layer for layer in model.backbone.modules() if isinstance(layer, nn.BatchNorm2d)).momentum = None
    model.compile_parts()
    assert not model._compiled["online"].__qualname__.startswith("_size_by_size")


@pytest.mark.parametrize("norm", ["per_view", "pooled"])
def test_a_learner_compiled_size_by_size_trains_as_ever(norm, monkeypatch):
    counter, real = CompileCounterWithBackend("aot_eager"), torch.compile
    monkeypatch.setattr(torch, "compile", lambda part, **options: real(part, backend=counter, **options))
    compilations, passes = [], []
    plain_pass = SideBySide._pass
    monkeypatch.setattr(SideBySide, "_pass", lambda self, *given: passes.append(given[2]) or plain_pass(self, *given))

    def run(apart):
        monkeypatch.setattr("imcswav.learners._compiling._on_gpu", lambda net: apart)
        model = learner(batch_norm=norm).train()
        model.compile_parts()
        losses = []
        for number in range(STEPS):
            scalars = model(batch(), Progress(number, 0, STEPS, STEPS), torch.tensor(number))
            scalars["loss"].backward()
            for parameter in model.parameters():
                parameter.data -= 0 if parameter.grad is None else 0.05 * parameter.grad
                parameter.grad = None
            losses.append(scalars["loss"].item())
            compilations.append(counter.frame_count)
        return losses, dict(model.state_dict())

    (losses, state), (wanted, plain) = run(apart=True), run(apart=False)
    assert passes == [0, 1] * STEPS
    assert compilations[0] == compilations[STEPS - 1]  # statistics that come and go are no reason to begin anew
    assert compilations[0] >= 6  # crops, two sizes, heads, two losses
    assert losses == pytest.approx(wanted, abs=1e-5)
    torch.testing.assert_close(state, plain, rtol=1e-4, atol=1e-5)


def busy(side, net, given):
    """A step whose passes start late and end late, so that a missing wait shows."""
    encode = encoder(net)

    def late(views_VBCHW):
        torch.cuda._sleep(2_000_000)
        result = encode(views_VBCHW)
        torch.cuda._sleep(2_000_000)
        return result

    return step(lambda function, batches: side(late, batches), net, given)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("norm", ["per_view", "pooled"])
def test_streams_equal_one_after_another(norm):
    start = net_of(norm, "cuda", width=64)
    nets = copy.deepcopy(start), copy.deepcopy(start)
    ways = SideBySide(nets[0]), InOrder(nets[1])
    for number in range(20):  # a race need not show at once
        given = crops(number, device="cuda", images=64)
        ours, plain = (busy(way, net, given) for way, net in zip(ways, nets, strict=True))
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(dict(nets[0].state_dict()), dict(nets[1].state_dict()), rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_streams_can_be_recorded():
    net = net_of("per_view", "cuda", width=64)
    twin, given, tail = copy.deepcopy(net), crops(0, device="cuda", images=64), {}
    side, recorder = SideBySide(net), Cuda(torch.device("cuda"))

    def whole():
        tail["sum"] = torch.cat([result.flatten() for result in step(side, net, given)]).sum()
        return dict(tail)

    for _ in range(2):
        recorder.eagerly(whole)
    replay = recorder.record(whole)
    for _ in range(3):
        replay()
    for _ in range(5):
        step(InOrder(twin), twin, given)
    torch.testing.assert_close(dict(net.state_dict()), dict(twin.state_dict()), rtol=1e-8, atol=1e-8)
