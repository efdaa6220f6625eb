"""Figures of a step: of a learner without the multi-view one's seams, and shares that add up."""

import pytest
import torch
from bench_case import CPU, data, recipe, subject
from torch import nn

from imcswav.bench.clock import Clock
from imcswav.bench.counts import count
from imcswav.bench.measure import count_pass, measure, memory_and_waits
from imcswav.bench.report import markdown, sheets
from imcswav.bench.shares import Spans, _cutting, shares
from imcswav.bench.subject import Subject
from imcswav.learners import Learner
from imcswav.plugins import registry


class Plain(Learner, name="plain_for_bench"):
    """One layer, no crops, and a habit of asking for values."""

    def __init__(self, config, *, facts, clusters):
        super().__init__(config, facts=facts, clusters=clusters)
        self.layer = nn.Linear(facts.channels * facts.size**2, clusters)

    def forward(self, batch, progress, seed):
        loss = self.layer(batch.images.float().flatten(1)).square().mean()
        return {"loss": loss * (1 if loss.item() > 0 else 2)}


@pytest.fixture
def plain(tiny):
    registry().add(Plain, "tests")
    yield recipe(tiny).model_copy(update={"learner": Plain.Config()})
    del registry().classes["learner", "plain_for_bench"]


def test_any_learner_is_measured(plain):
    found = measure(plain, data(), CPU)
    assert list(found["phases"]) == ["forward", "backward", "optimiser"]
    assert found["waits"] == 1  # its .item()
    assert found["floating_point_operations"] == 2 * 2 * 8 * (3 * 12 * 12) * 3
    assert not found["counts"]["on_ready_crops"]
    assert "seconds_on_ready_crops" not in found
    machine = {"gpus": [], "processor": "a processor", "packages": {"torch": "2"}, "started": "today"}
    whole = {"recipe": "plain", "command": "imcswav bench", "device": "cpu", "machine": machine, "step": found}
    (sheet,) = sheets(whole)
    assert ("host synchronisations in a step, by its operators", "1") in sheet.rows
    assert "| host synchronisations in a step, by its operators | 1 |" in markdown(whole)


def test_losses_have_what_they_wait_for(tiny):
    tiny["losses"] = [{"name": "swav", "queue": 16}, {"name": "prototype_contrast", "labels": "kmeans"}]
    case = subject(tiny, **{"learner.teacher.momentum": 0.9})
    case.warm_up()
    case.step()
    swav, contrast = case.learner.losses
    assert swav.queue.full
    assert len(swav.queue.rows[0]) == 16
    assert contrast.on
    assert case.forward()["loss/prototype_contrast"] > 0


def test_shares_add_up_to_the_step(tiny):
    case = subject(tiny)
    case.warm_up()
    found = shares(case, Clock(CPU), 5)
    assert list(found) == ["augmentation", "encoder forward", "heads and losses", "backward", "optimiser"]
    assert all(seconds > 0 for seconds in found.values())
    assert not case.learner.backbone._forward_hooks
    assert case.learner.views.name == "multicrop"


def test_a_teacher_s_forward_pass_is_the_encoder_s_time(tiny):
    tiny["losses"] = [{"name": "swav", "codes": "teacher.prototypes", "queue": 12}]
    case = subject(tiny, **{"learner.teacher.momentum": 0.9})
    case.warm_up()
    spans = Spans(Clock(CPU))
    with _cutting(case.learner, spans, True):
        case.forward()
    # two sizes of crops, and the global ones once more
    assert [name for name, _, _ in spans._found] == ["augmentation", *["encoder forward"] * 3]
    assert not case.learner.teacher.backbone._forward_hooks
    assert count_pass(case).waits == {}
    assert measure(recipe(tiny, **{"learner.teacher.momentum": 0.9}), data(), CPU)["waits"] == 0


def test_counts_on_ready_crops_leave_out_the_making_of_crops(tiny):
    assert count_pass(subject(tiny)).operations < count_of_step(subject(tiny)) - 50


def count_of_step(case):
    case.forward_backward()
    return count(case.forward_backward).operations


def test_half_the_images_keep_half_the_bytes_(tiny):
    case = subject(tiny)
    whole, half = count_pass(case).saved, count_pass(case, images=4).saved
    assert half < whole < 2.2 * half


def test_memory_of_a_compiled_step_is_not_known(tiny):
    case = subject(tiny)
    assert memory_and_waits(case)["memory"] > 0
    case.recipe = case.recipe.model_copy(update={"trainer": case.recipe.trainer.model_copy(update={"compile": True})})
    assert memory_and_waits(case) == {"memory": None, "memory_is": "not known of a compiled step", "waits": None}


def test_ready_crops_are_the_subject_s_own(tiny):
    case = Subject(recipe(tiny), data(), CPU, ready=True)
    assert [tuple(group.shape) for group in case.crops] == [(2, 8, 3, 10, 10), (2, 8, 3, 8, 8)]
    assert case.learner.views(None, 0) is case.crops
    before = [value.clone() for value in case.learner.parameters()]
    case.step()
    assert not all(torch.equal(a, b) for a, b in zip(before, case.learner.parameters(), strict=True))


def test_batches_fetched_as_in_training(tiny):
    case = subject(tiny)
    assert case.train(2) == 2
    assert case.train(99) == 3  # an epoch of 24 images has no more
