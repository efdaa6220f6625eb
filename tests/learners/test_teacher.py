"""The teacher: its average and its outputs against plain loops, in float64."""

import copy
import math

import pytest
import torch
from tiny import TAUGHT, batch, images, learner
from torch import nn

from imcswav.engine import Engine
from imcswav.learners import Epoch
from imcswav.learners._teacher import TeacherSettings
from imcswav.recipe import TrainerSettings
from imcswav.schedules.constant import Constant
from imcswav.step import Progress, split

STEPS = 6


def taught(**changes):
    """A learner with a teacher, in float64, crops and all."""
    net = learner(**TAUGHT | changes).double()
    views = net.views
    net.views = lambda pixels, seed: [group.double() for group in views(pixels, seed)]
    return net.train()


def engine(net, **trainer):
    return Engine(
        learner=net,
        optimizer=torch.optim.Adam([parameter for _, parameter in net.trainable()], lr=0.01),
        schedule=Constant.create(),
        settings=TrainerSettings(**{"compile": False} | trainer),
        device=torch.device("cpu"),
        seed=5,
    )


def spied(net):
    """What the losses see, the newest last."""
    seen = []
    net.losses[0].register_forward_pre_hook(lambda loss, given: seen.append(given[0]))
    return seen


def same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], **{"rtol": 1e-10, "atol": 1e-12} | tolerance, msg=name)


def test_momentum_is_half_a_cosine():
    given = TeacherSettings()
    found = [given.at(Progress(step, 0, 100, 10)) for step in range(100)]
    assert found[0] == pytest.approx(0.996, abs=1e-12)
    assert found[50] == pytest.approx(0.998, abs=1e-12)
    assert found[99] == pytest.approx(1 - 0.004 * (math.cos(0.99 * math.pi) + 1) / 2, abs=1e-12)
    assert 1 - 1e-6 < found[99] < given.at(Progress(100, 0, 100, 10)) == 1
    assert TeacherSettings(momentum=0.5, final_momentum=0.7).at(Progress(25, 0, 100, 10)) == pytest.approx(
        0.7 - 0.2 * (math.sqrt(0.5) + 1) / 2
    )


def test_the_teacher_is_the_average_of_what_the_optimiser_made():
    net = taught()
    one = engine(net)
    own = {name: value.clone() for name, value in net.teacher.named_parameters()}
    for number in range(STEPS):
        one.step(batch(), Progress(number, 0, STEPS, STEPS))
        momentum = 1 - 0.1 * (math.cos(math.pi * number / STEPS) + 1) / 2
        online = dict(net.named_parameters())
        for name, value in own.items():
            if name == "heads.prototypes.weight":  # of length 1 at each step's start, as the online ones
                value = value / value.norm(dim=1, keepdim=True)
            own[name] = momentum * value + (1 - momentum) * online[name].detach()
    assert {"backbone.layers.0.weight", "heads.prototypes.weight", "heads.classifier.layers.1.bias"} < own.keys()
    assert not any(name.startswith("heads.predictor") for name in own)  # nobody reads the teacher's
    same(dict(net.teacher.named_parameters()), own)
    assert all(abs(own[name] - online[name]).max() > 1e-3 for name in own if name.endswith("weight"))


def test_the_teacher_is_not_trained():
    net = taught()
    one = engine(net)
    one.step(batch(), Progress(0, 0, STEPS, STEPS))
    assert not any(name.startswith("teacher.") for name, _ in net.trainable())
    held = {id(parameter) for group in one.optimizer.param_groups for parameter in group["params"]}
    for name, parameter in net.teacher.named_parameters():
        assert parameter.grad is None, name
        assert not parameter.requires_grad, name
        assert id(parameter) not in held, name
    assert all(parameter.grad is not None for _, parameter in net.trainable())


@pytest.mark.parametrize("statistics", ["per_view", "pooled"])
@pytest.mark.parametrize("micro_batch", [None, 4])
def test_outputs_are_those_of_the_global_crops_alone(statistics, micro_batch):
    net = taught(batch_norm=statistics, micro_batch=micro_batch)
    seen = spied(net)
    backbone, heads = (copy.deepcopy(part) for part in (net.teacher.backbone, net.teacher.heads))
    with torch.no_grad():
        for _, parameter in net.trainable():
            parameter.mul_(1.5)  # the online network is another one
    crops = net.views(batch().images, 3)[0]
    net(batch(), Progress(0, 0, 10, 5), 3)
    outputs = {name: output for name, output in seen[0].outputs.items() if name.startswith("teacher.")}
    assert set(outputs) == {f"teacher.{name}" for name in ("features", "projection", "prototypes", "classifier")}
    assert all(output.views == (0, 1) for output in outputs.values())
    assert not any(output.tensor.requires_grad for output in outputs.values())
    calls = [crops[:1], crops[1:]] if statistics == "per_view" else [crops]
    with torch.no_grad():
        pieces = [
            [encoded(backbone, call[:, rows]) for call in calls] for rows in torch.arange(8).split(micro_batch or 8)
        ]
        features_GBF = torch.cat([torch.cat(piece) for piece in pieces], 1)
        seen_by_heads = [features_GBF[:1], features_GBF[1:]] if statistics == "per_view" else [features_GBF]
        logits_GBK = torch.cat([encoded(heads["classifier"], call) for call in seen_by_heads])
        scores_GBP = heads["prototypes"](heads["projection"](features_GBF))
    expected = {"teacher.features": features_GBF, "teacher.classifier": logits_GBK, "teacher.prototypes": scores_GBP}
    same({name: outputs[name].tensor for name in expected}, expected)
    for copied, own in ((backbone, net.teacher.backbone), (heads, net.teacher.heads)):
        same(dict(own.named_buffers()), dict(copied.named_buffers()))  # statistics are the teacher's own
    assert net.backbone.layers[1].running_mean.ne(net.teacher.backbone.layers[1].running_mean).all()


def encoded(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Views (V, B, ...) passed in one call."""
    return module(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def test_batch_norm_statistics_are_not_averaged():
    net = taught()
    before = {name: value.clone() for name, value in net.teacher.named_buffers()}
    with torch.no_grad():
        for name, value in net.backbone.named_buffers():
            value.add_(1 if name.endswith("tracked") else 7.0)
    net.prepare(Progress(0, 0, 10, 5))
    net.after_step(Progress(0, 0, 10, 5))
    found = dict(net.teacher.named_buffers())
    assert found.pop("rest") == pytest.approx(0.1)
    before.pop("rest")
    same(found, before, rtol=0, atol=0)


def test_checkpointed_activations_change_nothing():
    def run(**changes):
        net = taught(**changes)
        one = engine(net)
        return [one.step(batch(), Progress(number, 0, 3, 3))["loss"].item() for number in range(3)], net.state_dict()

    (losses, state), (losses_again, state_again) = run(), run(activation_checkpointing=True)
    assert losses == pytest.approx(losses_again, rel=1e-10)
    same(state, state_again, rtol=1e-6, atol=1e-8)


def test_the_teacher_is_compiled_too(monkeypatch):
    calls = []

    def compiler(part, **options):
        return lambda *given: (calls.append((part, torch.is_grad_enabled())), part(*given))[1]

    plain = [value.item() for value in engine(taught()).step(batch(), Progress(0, 0, 2, 2)).values()]
    monkeypatch.setattr("torch.compile", compiler)
    net = taught()
    one = engine(net, compile=True)
    assert list(net._compiled)[:3] == ["views", "online", "teacher"]
    views = net._compiled["views"]
    net._compiled["views"] = lambda *given: [group.double() for group in views(*given)]
    assert [value.item() for value in one.step(batch(), Progress(0, 0, 2, 2)).values()] == plain
    assert one.notes == []
    assert [(part == net.outputs_of, grad) for part, grad in calls[1:3]] == [(True, True), (True, False)]
    saving = taught(activation_checkpointing=True)
    saving.compile_parts()
    assert list(saving._compiled)[:2] == ["views", "teacher.backbone"]


@pytest.mark.parametrize("name", ["teacher.classifier", "classifier", "teacher.features"])
def test_an_epoch_s_outputs_are_those_of_whole_images_in_evaluation(monkeypatch, name):
    monkeypatch.setattr("imcswav.learners._whole_images.EPOCH_BATCH", 3)
    net = learner(**TAUGHT).train()
    for number in range(3):
        net(batch(), Progress(number, 0, 10, 5), number)  # running statistics come to differ
    with torch.no_grad():
        for parameter in net.teacher.parameters():
            parameter.mul_(0.5)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = []
    net.losses[0].start_epoch = lambda epoch: found.append((epoch.outputs(name), epoch.seed))
    net.start_epoch(Epoch(Progress(5, 1, 10, 5), images(8), seed=3))
    assert net.training
    assert net.teacher.backbone.layers[1].training
    same(net.state_dict(), before, rtol=0, atol=0)
    branch, head = split(name)
    backbone, heads = (net.teacher.backbone, net.teacher.heads) if branch == "teacher" else (net.backbone, net.heads)
    rows = backbone.eval()(net.views.whole(images(8)))
    rows = rows if head == "features" else heads.eval()[head](rows)
    torch.testing.assert_close(found[0][0], rows.detach(), rtol=1e-5, atol=1e-6)
    assert not found[0][0].requires_grad
    assert found[0][1] == 3


def test_copies_hear_the_hooks_before_forward_and_tell_their_phase():
    net, heard = taught(), []
    for name in ("prepare", "before_step", "before_update", "after_step"):
        setattr(net.teacher.heads["projection"], name, lambda progress, name=name: heard.append((name, progress.step)))
        getattr(net, name)(Progress(4, 0, 10, 5))
    assert heard == [("prepare", 4), ("before_step", 4)]
    net.teacher.heads["projection"].phase = lambda progress: progress.step > 3
    assert net.phase(Progress(3, 0, 10, 5)) != net.phase(Progress(4, 0, 10, 5)) == net.phase(Progress(5, 0, 10, 5))
