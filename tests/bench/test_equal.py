"""The comparison of the fast step with the plain one, and that it notices when they differ."""

import math

import pytest
import torch
from bench_case import CPU, data, recipe, subject

from imcswav.augment import crop
from imcswav.bench.equal import Difference, differences, raise_unequal
from imcswav.bench.reference import check_comparable
from imcswav.bench.replay import colour_difference, crop_difference
from imcswav.bench.subject import Subject
from imcswav.errors import ImcswavError
from imcswav.losses.imc import IMC


@pytest.mark.parametrize("batch_norm", ["per_view", "pooled"])
def test_both_steps_compute_the_same(tiny, batch_norm):
    found = differences(subject(tiny, **{"learner.batch_norm": batch_norm}))
    assert len(found) == 9
    assert [one.what for one in found if not one.equal] == []
    raise_unequal(found)


def test_a_wrong_loss_is_noticed(tiny, monkeypatch):
    right = IMC.forward
    monkeypatch.setattr(IMC, "forward", lambda self, step: right(self, step) * 1.001)
    found = differences(subject(tiny))
    assert {one.what for one in found if not one.equal} == {
        "loss imc", "loss imc, gradient", "whole step, loss, float64", "whole step, gradients, float64",
    }  # fmt: skip
    with pytest.raises(ImcswavError, match=r"loss imc differs by 0\.001, allowed 1e-05"):
        raise_unequal(found)


def test_wrong_crops_and_colours_are_noticed(tiny, monkeypatch):
    case = subject(tiny)
    views, images = case.learner.views, case.batch.images
    assert crop_difference(views, images, 1) <= 1
    assert colour_difference(views, images, 1) < 0.5
    with monkeypatch.context() as patched:
        patched.setattr("imcswav.bench.replay.ADJUST", (lambda x, factor: x,) * 3)
        assert colour_difference(views, images, 1) > 5
    right = crop.resize_weights
    monkeypatch.setattr(crop, "resize_weights", lambda start, *rest: right((start - 1).clamp_min(0), *rest))
    assert crop_difference(views, images, 1) > 5


def test_statistics_of_pooled_views_are_not_those_of_single_ones(tiny, monkeypatch):
    monkeypatch.setattr("imcswav.learners.multiview.per_view", lambda module: None)
    unequal = {one.what for one in differences(subject(tiny)) if not one.equal}
    assert "whole step, batch-norm statistics, float64" in unequal


def test_a_number_among_others_that_is_none_is_noticed(tiny, monkeypatch):
    case = subject(tiny)
    monkeypatch.setattr("imcswav.bench.replay._levels", lambda views, crops: crops * math.nan)
    assert math.isnan(crop_difference(case.learner.views, case.batch.images, 1))
    monkeypatch.undo()
    right = IMC.forward

    def wrong(self, step):
        value = right(self, step)
        if value.requires_grad:
            value.register_hook(lambda gradient: gradient * math.nan)
        return value

    monkeypatch.setattr(IMC, "forward", wrong)
    unequal = {one.what for one in differences(subject(tiny)) if not one.equal}
    assert {"loss imc, gradient", "whole step, gradients, float64"} <= unequal


def test_dropout_and_micro_batches_are_left_out_of_the_comparison(tiny):
    backbone = {"name": "timm", "model": "test_vit", "arguments": {"drop_path_rate": 0.5, "img_size": 16}}
    found = differences(subject(tiny, backbone=backbone, **{"learner.micro_batch": 4}))
    assert [one.what for one in found if not one.equal] == []


def test_a_difference_that_is_no_number_is_none():
    assert not Difference("x", math.nan, 1.0).equal
    assert Difference("x", 1.0, 1.0).equal


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"losses": ["swav", "swav"]}, "not one 'swav' and one 'imc'"),
        ({"losses": [{"name": "swav", "solver": "softmax"}]}, "even 'sinkhorn'"),
        ({"losses": [{"name": "swav", "queue": 64}]}, "more than the batch's own scores"),
        ({"learner.teacher.momentum": 0.9}, "there is a teacher"),
        ({"views.blur": 0.5}, "the views have blur"),
        ({"heads.projection.noise": 0.1}, "a head adds noise"),
        ({"learner.bank": {"subset": "labelled", "images": 4, "losses": ["imc"]}}, "there is a bank"),
    ],
)
def test_other_methods_are_refused_in_one_sentence(tiny, changes, reason):
    with pytest.raises(ImcswavError, match=reason) as caught:
        check_comparable(recipe(tiny, **changes), 3)
    assert "\n" not in str(caught.value)


def test_grey_images_are_refused(tiny):
    with pytest.raises(ImcswavError, match="colour images"):
        check_comparable(recipe(tiny), 1)


def test_the_subject_is_the_run_s_own_network(tiny):
    first, second = (Subject(recipe(tiny), data(), CPU).learner.state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
