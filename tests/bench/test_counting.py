"""Counting: operators, views, saved bytes, and what would make the host wait."""

import pytest
import torch

from imcswav.bench.counts import count, floating_point_operations, owned


def test_launches_and_views_counted_by_hand():
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    counts = count(lambda: (a @ b).T.reshape(-1).relu().sum())
    assert counts.launched == {"mm": 1, "clone": 1, "relu": 1, "sum": 1}  # reshape of a transpose copies
    assert counts.operations == 4
    assert counts.views == 2  # the transpose, and the copy seen as one row
    assert not counts.custom
    assert not counts.waits


def test_the_backward_pass_is_counted():
    weight = torch.randn(3, 2, requires_grad=True)
    forward = count(lambda: (weight * 2).sum())
    both = count(lambda: (weight * 2).sum().backward())
    assert both.launched["mul"] == 2 * forward.launched["mul"] == 2


def test_saved_bytes_count_each_storage_once_and_not_what_was_there_before():
    layer, x = torch.nn.Linear(6, 6), torch.randn(4, 6)

    def work():
        y = layer(x).exp()  # exp keeps its result, which the products keep too
        (y * y.view(4, 6) * y[:2].sum()).sum().backward()

    one = 4 * 6 * 4
    everything, new = count(work).saved, count(work, owned(layer, x)).saved
    assert everything - new == x.numel() * 4
    assert new == 2 * one + 4  # y, y · y, and the sum


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: bool(x.any()), "_local_scalar_dense"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: x[x > 0], "index"),
        (lambda x: x.masked_select(x > 0), "masked_select"),
        (lambda x: x.tolist(), "tolist"),
        (lambda x: x.cpu(), "cpu"),
        (lambda x: x.numpy(), "numpy"),
        (lambda x: x + torch.tensor([1.0, 2.0, 3.0]), "lift_fresh"),
        (lambda x: x.to("meta"), "_to_copy"),
        (lambda x: torch.empty(3, device="meta").copy_(x), "copy_"),
    ],
)
def test_what_makes_the_host_wait(work, name):
    x = torch.tensor([1.0, -1.0, 2.0])
    assert count(lambda: work(x)).waits == {name: 1}


def test_what_does_not_make_it_wait():
    x, index, mask = torch.randn(5), torch.tensor([0, 2]), torch.tensor([True, False, True, False, True])

    def work():
        x[index] + x[:2]
        x.where(mask, 0.0).sum().clone().fill_(3.0)
        x.to(torch.bfloat16).float()
        torch.empty(5, device="meta").copy_(x, non_blocking=True)

    assert not count(work).waits


def test_operators_of_others_are_named():
    @torch.library.custom_op("imcswav_tests::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    assert count(lambda: twice(torch.ones(2))).custom == {"imcswav_tests.twice.default"}


def test_floating_point_operations_of_a_product():
    a, b = torch.randn(3, 4), torch.randn(4, 5, requires_grad=True)
    assert floating_point_operations(lambda: a @ b) == 2 * 3 * 4 * 5
    assert floating_point_operations(lambda: (a @ b).sum().backward()) == 2 * 2 * 3 * 4 * 5
