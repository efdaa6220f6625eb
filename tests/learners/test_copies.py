"""A learner with several copies of its classifier against learners with one copy each, and what it exports."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import FACTS, PROGRESS, SETTINGS, batch, blobs, images, learner, settings, short

import imcswav
from imcswav import checkpoint
from imcswav.batchnorm import evaluating
from imcswav.bench.counts import count
from imcswav.data import Batch, DataFacts
from imcswav.data.array import ArrayData
from imcswav.heads import COPY_MOMENTUM
from imcswav.learners import RecipeFacts
from imcswav.model import Model

COPIES = 3
BOTH = [{"name": "swav"}, {"name": "imc", "weight": 0.5}, {"name": "wpmi", "weight": 2.0}]


def heads(copies=COPIES, **others):
    classifier = SETTINGS["heads"]["classifier"] | {"copies": copies, "hidden": [6, 5]}
    return SETTINGS["heads"] | {"classifier": classifier} | others


def double(net):
    views = net.views
    net.views = lambda pixels, seed: [group.double() for group in views(pixels, seed)]
    return net.double()


def lone_learners(joint, **changes):
    state = joint.state_dict()
    for number in range(COPIES):
        lone = double(learner(heads=heads(1), **changes))
        own = {}
        for name, value in lone.state_dict().items():
            copied = "classifier" in name and value.ndim
            own[name] = state[name].reshape(COPIES, *value.shape)[number] if copied else state[name]
        lone.load_state_dict(own)
        yield lone


@pytest.mark.parametrize("statistics", ["per_view", "pooled"])
def test_each_copy_learns_as_it_would_alone(statistics):
    changes = {"losses": BOTH, "batch_norm": statistics}
    joint = double(learner(heads=heads(), **changes))
    lone = list(lone_learners(joint, **changes))
    scalars = joint(batch(), PROGRESS, 3)
    scalars["loss"].backward()
    each = [net(batch(), PROGRESS, 3) for net in lone]
    for values in each:
        values["loss"].backward()
    for name in ("loss", "loss/swav", "loss/imc", "loss/wpmi"):
        torch.testing.assert_close(scalars[name], torch.stack([values[name] for values in each]).mean())
    parts = [dict(net.named_parameters()) for net in lone]
    for name, parameter in joint.named_parameters():
        gradients = [part[name].grad for part in parts]
        expected = torch.stack(gradients).reshape(parameter.shape) if "classifier" in name else gradients[0]
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-12, msg=name)
    own = [0.5 * values["loss/imc"] + 2 * values["loss/wpmi"] for values in each]
    running = joint.heads["classifier"].copy_losses
    torch.testing.assert_close(running, (1 - COPY_MOMENTUM) * torch.stack(own))
    assert running.std() > 1e-6


def test_without_detach_the_encoder_hears_the_sum_of_all_copies():
    classifier = heads()["classifier"] | {"detach": False}
    joint = double(learner(heads=heads(classifier=classifier), losses=[{"name": "imc"}]))
    total = 0
    for number in range(COPIES):
        joint.zero_grad()
        joint(batch(), PROGRESS, 3)["loss"].backward()
        whole = joint.backbone.layers[0].weight.grad.clone()
        joint.zero_grad()
        one_hot = torch.eye(COPIES, dtype=torch.float64)[number]
        forward = joint.heads["classifier"].forward
        joint.heads["classifier"].forward = lambda x, f=forward, w=one_hot[:, None]: f(x) * w + f(x).detach() * (1 - w)
        joint(batch(), PROGRESS, 3)["loss"].backward()
        total = total + joint.backbone.layers[0].weight.grad
        joint.heads["classifier"].forward = forward
    torch.testing.assert_close(total, whole)


def test_operations_of_a_step_do_not_grow_with_copies():
    def operations(copies):
        net = learner(heads=heads(copies), losses=BOTH)
        return count(lambda: net(batch(), PROGRESS, 3)["loss"].backward())

    few, many = operations(2), operations(16)
    assert few.operations == many.operations > 200
    assert not many.waits


@pytest.mark.parametrize("best", range(COPIES))
def test_images_are_assigned_by_the_chosen_copy_before_and_after_saving(best, tmp_path):
    net = learner(heads=heads())
    losses = torch.arange(COPIES).roll(best).float()  # 0, the lowest, at the best
    net.heads["classifier"].rank(losses)
    net.eval()
    features = net.backbone(net.views.whole(images()))
    rows_MEK = net.heads["classifier"](features)
    assert torch.equal(net.embed(images()).probabilities, rows_MEK[:, best].softmax(-1))
    with evaluating(net):  # re-estimation trains layers, not the head
        net.embed(images())
    model = Model(net, facts=FACTS, clusters=3, views=2)
    model.save(tmp_path)
    assert np.array_equal(Model.load(tmp_path).predict_proba(images()), model.predict_proba(images()))


def test_a_run_ends_with_the_copy_that_its_checkpoint_says(tiny, tmp_path):
    pixels, _ = blobs()
    tables = short(tiny)
    tables["heads"]["classifier"]["copies"] = 4
    result = imcswav.run(tables, out=tmp_path / "run", data=ArrayData.of(pixels))
    running = checkpoint.load_latest(tmp_path / "run/checkpoints")["learner"]["heads.classifier.copy_losses"]
    assert len(set(running.tolist())) == 4
    model = imcswav.load(result.path)
    assert torch.equal(model.learner.heads["classifier"].copy_losses, running)
    assert model.predict(pixels).shape == (40,)


def problems(**changes):
    found = settings(**changes).check_recipe(RecipeFacts(DataFacts(64, 3, 12), clusters=3, batch_size=8))
    return {problem.path: str(problem) for problem in found}


def test_losses_that_take_copies_get_them():
    assert problems(heads=heads(), losses=BOTH) == {}


def test_whatever_takes_one_copy_is_told():
    found = problems(heads=heads(), losses=[{"name": "swav", "scores": "classifier"}])
    assert list(found) == ["losses.0.scores"]
    assert "the head 'classifier' has 3 copies, and loss 'swav' takes one" in found["losses.0.scores"]
    reader = {"name": "mlp", "input": "classifier", "width": 4, "copies": COPIES}
    assert list(problems(heads=heads(reader=reader))) == ["heads.reader.input"]
    assert problems(heads=heads(1, reader=reader | {"copies": 1})) == {}


def test_heads_read_together_need_equally_many_copies():
    other = heads()["classifier"] | {"copies": 2}
    loss = {"name": "wpmi", "targets": "other"}
    found = problems(heads=heads(other=other), losses=[*BOTH, loss])
    assert list(found) == ["losses.3"]
    assert "heads 'classifier' of 3 and 'other' of 2" in found["losses.3"]
    assert problems(heads=heads(other=other | {"copies": 3}), losses=[*BOTH, loss]) == {}


@pytest.mark.parametrize("banked", ["imc", "wpmi"])
def test_copies_in_a_bank(banked):
    """With ``wpmi`` alone banked the bank keeps the copies' rows, for `imc` on every batch reads them too."""
    split = dataclasses.replace(FACTS, subsets={"labelled": 40})
    losses = [loss for loss in BOTH if loss["name"] in ("swav", "imc", banked)]
    bank = {"images": 6, "losses": [banked]}
    others = {} if banked == "imc" else {"second": SETTINGS["heads"]["classifier"]}
    extra = [] if banked == "imc" else [{"name": "wpmi", "logits": "second", "targets": "second"}]
    torch.manual_seed(0)
    config = settings(heads=heads(**others), losses=losses + extra, bank=bank)
    net = config.build(facts=split, clusters=3)
    running = []
    for number in range(2):
        net.before_step(PROGRESS if number == 0 else dataclasses.replace(PROGRESS, step=1))
        rows = torch.arange(4)
        scalars = net(Batch(images(8), torch.arange(8), {"labelled": rows}), PROGRESS, number)
        scalars["loss"].backward()
        running.append(net.heads["classifier"].copy_losses.clone())
    if banked == "wpmi":
        assert net.bank.kept_classifier.shape == (5, 6, COPIES, 3)
    assert running[0].any() == (banked == "wpmi")
    assert len(set(running[1].tolist())) == COPIES


@pytest.mark.parametrize("best", range(COPIES))
def test_clusters_of_each_copy_are_those_it_has_alone_and_the_used_one_is_in_front(best):
    joint = learner(heads=heads()).train()  # statistics of these images, or all would be in one cluster
    pixels = images(30)
    used = []
    for copy in range(COPIES):
        joint.heads["classifier"].copy_losses.copy_((torch.arange(COPIES) != copy).float())
        used.append(joint.embed(pixels).probabilities.argmax(1))
    joint.heads["classifier"].copy_losses.copy_((torch.arange(COPIES) != best).float())
    order = [best, *(copy for copy in range(COPIES) if copy != best)]
    found = joint.copy_clusters(pixels)
    assert torch.equal(found, torch.stack([used[copy] for copy in order], 1))
    assert len({tuple(column.tolist()) for column in found.T}) == COPIES
    assert learner(heads=heads(1)).copy_clusters(pixels) is None
