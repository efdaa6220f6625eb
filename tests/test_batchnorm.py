"""Statistics per view and their re-estimation, against separate calls and plain sums."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from imcswav import batchnorm
from imcswav.batchnorm import evaluating, per_view, reestimate, views_in_batch

VIEWS, IMAGES = 3, 5


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1), BatchNormAct2d(3))
        self.head = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().double()


def image_major(views_VB):
    """Rows of a batch: all views of the first image first."""
    return views_VB.transpose(0, 1).flatten(0, 1)


def by_view(rows_M):
    """Rows, view after view."""
    return rows_M.unflatten(0, (IMAGES, VIEWS)).transpose(0, 1).flatten(0, 1)


def close(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_views_in_one_batch_equal_separate_calls(net):
    single, joint = net, copy.deepcopy(net)
    per_view(joint)
    views = torch.randn(VIEWS, IMAGES, 2, 6, 6, dtype=torch.float64) * torch.tensor([1.0, 2, 5]).view(-1, 1, 1, 1, 1)
    one, other = views.clone().requires_grad_(), views.clone().requires_grad_()
    apart = torch.cat([single(view) for view in one])
    with views_in_batch(joint, VIEWS):
        together = by_view(joint(image_major(other)))
    pooled = by_view(joint(image_major(views)))
    assert (pooled - together).abs().max() > 0.01  # the views do differ in their statistics
    close(apart, together)
    weights = torch.randn_like(apart)
    (apart * weights).sum().backward()
    (together * weights).sum().backward()
    close(one.grad, other.grad)
    for (name, p), q in zip(single.named_parameters(), joint.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=1e-10, msg=name)


def test_running_statistics_get_one_update_a_view(net):
    joint = copy.deepcopy(net)
    per_view(joint)
    views = torch.randn(VIEWS, IMAGES, 2, 6, 6, dtype=torch.float64)
    for view in views:
        net(view)
    with views_in_batch(joint, VIEWS):
        joint(image_major(views))
    assert net.state_dict().keys() == joint.state_dict().keys()
    for value, other in zip(net.state_dict().values(), joint.state_dict().values(), strict=True):
        close(value, other)
    assert joint.head[1].num_batches_tracked == VIEWS


def test_views_are_forgotten_after_use_and_ignored_in_evaluation(net):
    per_view(net)
    per_view(net)  # twice is once
    x = torch.randn(VIEWS * IMAGES, 2, 6, 6, dtype=torch.float64)
    plain = net.eval()(x)
    with views_in_batch(net, VIEWS):
        assert torch.equal(net(x), plain)
    with pytest.raises(RuntimeError, match="stop"), views_in_batch(net, VIEWS):
        raise RuntimeError("stop")
    assert all(layer.views == 1 for layer in net.modules() if isinstance(layer, batchnorm.PerView))


def test_evaluating_puts_modes_and_statistics_back(net):
    net.train()
    net.features[0].eval()
    net.head[1].momentum = 0.3
    modes = [part.training for part in net.modules()]
    before = copy.deepcopy(net.state_dict())
    images = torch.randn(20, 2, 6, 6, dtype=torch.float64)

    def stop(x):
        net(x)
        assert not net.training
        assert net.head[1].training
        assert not torch.equal(net.head[1].running_mean, before["head.1.running_mean"])
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), evaluating(net):
        reestimate(net, images, stop, mode="train", batch_size=5, seed=0)
    assert [part.training for part in net.modules()] == modes
    assert net.head[1].momentum == 0.3
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def single_layer():
    layer = nn.BatchNorm1d(2).double()
    layer.running_mean += 7
    layer.num_batches_tracked += 5
    return layer.eval(), torch.randn(23, 2, dtype=torch.float64) * 3 + 1


def order(count, seed):
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def test_train_mode_is_the_mean_over_batches_from_scratch(monkeypatch):
    monkeypatch.setattr(batchnorm, "REESTIMATION_BATCH", 6)
    monkeypatch.setattr(batchnorm, "REESTIMATION_IMAGES", 20)
    layer, images = single_layer()
    reestimate(layer, images, layer, mode="train", batch_size=3, seed=4)
    parts = [images[order(23, 4)[start : start + 5]] for start in range(0, 20, 5)]  # 4 batches of at most 6
    close(layer.running_mean, sum(part.mean(0) for part in parts) / 4)
    close(layer.running_var, sum(part.var(0) for part in parts) / 4)
    assert not layer.training
    assert layer.momentum == 0.1


def test_train_mode_is_the_mean_over_the_views_of_a_batch_too(monkeypatch):
    monkeypatch.setattr(batchnorm, "REESTIMATION_BATCH", 12)
    layer, images = single_layer()

    def embed(batch):
        for shift in (0, 1, 5):
            layer(batch + shift)

    reestimate(layer, images, embed, mode="train", batch_size=3, seed=4)
    parts = [part + shift for part in images[order(23, 4)].tensor_split(2) for shift in (0, 1, 5)]
    close(layer.running_mean, sum(part.mean(0) for part in parts) / 6)
    close(layer.running_var, sum(part.var(0) for part in parts) / 6)
    assert layer.momentum == 0.1
    assert not layer._forward_pre_hooks


@pytest.mark.parametrize("mode", ["train", "test"])
def test_layers_that_no_image_passes_keep_their_statistics(mode):
    layer, images = single_layer()
    net = nn.ModuleList([layer, single_layer()[0]])
    before = {name: value.clone() for name, value in net[1].state_dict().items()}
    reestimate(net, images, layer, mode=mode, batch_size=10, seed=4)
    assert net[0].running_mean.max() < 7
    for name, value in net[1].state_dict().items():
        assert torch.equal(value, before[name]), name


def test_test_mode_is_one_pass_of_momentum():
    """23 images in batches of 10: the last, smaller one moves the statistics as much as a whole one."""
    layer, images = single_layer()
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    reestimate(layer, images, layer, mode="test", batch_size=10, seed=4)
    shuffled = images[order(23, 4)]
    for part in (shuffled[:10], shuffled[10:20], shuffled[20:]):
        mean, var = 0.9 * mean + 0.1 * part.mean(0), 0.9 * var + 0.1 * part.var(0)
    close(layer.running_mean, mean)
    close(layer.running_var, var)


@pytest.mark.parametrize(
    ("mode", "count", "sizes"),
    [
        ("train", 1, []),
        ("train", 3, [3]),
        ("train", 501, [251, 250]),
        ("train", 1001, [334, 334, 333]),
        ("test", 1, []),
        ("test", 3, [2]),  # one image alone has no variance
        ("test", 5, [2, 2]),
        ("test", 1001, [2] * 50),  # the released program stops after 50 batches
    ],
)
def test_sizes_of_batches(mode, count, sizes):
    seen = []
    layer = nn.BatchNorm1d(2).eval()
    images = torch.randn(count, 2)
    reestimate(layer, images, lambda x: seen.append(len(layer(x))), mode=mode, batch_size=2, seed=0)
    assert seen == sizes


def test_running_mode_and_networks_without_batch_norm_are_left_alone():
    layer, images = single_layer()
    before = copy.deepcopy(layer.state_dict())
    reestimate(layer, images, pytest.fail, mode="running", batch_size=5, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    plain = nn.Linear(2, 2)
    for mode in ("train", "test"):
        reestimate(plain, images, pytest.fail, mode=mode, batch_size=5, seed=0)
    reestimate(nn.BatchNorm1d(2, track_running_stats=False), images, pytest.fail, mode="train", batch_size=5, seed=0)
