"""Numbers of the published recipe's step that are held by counting, not by timing (docs/performance.md).

They are counts of torch's own operators on the CPU, eager and float32, so they are the same on every machine.
"""

import pytest
import torch

from imcswav.bench.counts import count
from imcswav.bench.measure import count_pass
from imcswav.bench.reference import loss_outputs, step_of
from imcswav.bench.subject import EAGER, Subject, changed
from imcswav.bench.tally import OPERATION_GOALS, saved_an_image
from imcswav.data.array import ArrayData
from imcswav.recipe.files import load_recipe

BATCH = 8
"""Counts don't depend on it."""
MI_OPERATIONS = 60
CPU = torch.device("cpu")


def subject(batch=BATCH, device=CPU, **changes):
    recipe = changed(load_recipe("imc_swav_cifar10"), {"trainer.batch_size": batch, **changes})
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2 * batch, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Subject(recipe, ArrayData.of(images).to(device), device)


@pytest.mark.parametrize("batch_norm", ["per_view", "pooled"])
def test_operations_of_forward_and_backward(batch_norm):
    counts = count_pass(subject(**EAGER, **{"learner.batch_norm": batch_norm}))
    assert counts.operations <= OPERATION_GOALS[batch_norm], counts.launched.most_common(12)
    assert counts.operations > 400  # the network itself: less would mean that something went uncounted
    assert counts.custom == set()
    assert counts.waits.total() == 0


def test_operations_of_mutual_information():
    case = subject(**EAGER)
    outputs, global_views = loss_outputs(case)
    outputs = {name: value.requires_grad_() for name, value in outputs.items()}
    (loss,) = [loss for loss in case.learner.losses if loss.name == "imc"]
    counts = count(lambda: loss(step_of(outputs, global_views)).backward())
    assert 10 < counts.operations <= MI_OPERATIONS, counts.launched


def test_bytes_saved_for_backward():
    row = saved_an_image(subject(**EAGER)).table()
    assert row["met"], row


def test_nothing_in_a_training_step_waits_for_the_host():
    case = subject(4, **EAGER)
    case.step()  # optimiser state and tables come into being
    assert count(case.step).waits == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_steps_never_wait_for_the_host():
    case = subject(64, torch.device("cuda"))
    case.warm_up()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(20):
            case.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
