"""Stages: when they change, what they begin with, and where targets come from."""

import dataclasses

import depict_loops as reference
import numpy as np
import pytest
import torch
from imcswav_depict import Depict
from imcswav_depict.stages import Stages
from small import FACTS, batch, epoch, images, learner, train

from imcswav.clusterers.kmeans import KMeans
from imcswav.learners import RecipeFacts
from imcswav.plugins import registry
from imcswav.step import Progress
from imcswav.testing import check_component


def test_it_keeps_the_contract_and_recipes_find_it():
    check_component(Depict)
    assert registry().get("learner", "depict") is Depict


def test_stages_follow_one_another():
    one, seen = learner(target_epochs=2), []
    for number in range(7):
        train(one, 1, number)
        stages = one.stages
        hard = stages.clusters and bool((stages.targets.max(1).values == 1).all())
        seen.append("pre-training" if not stages.clusters else "warm" if hard else "targets")
        assert one.phase(epoch(number).progress) is stages.clusters
    assert seen == ["pre-training"] * 2 + ["warm"] + ["targets"] * 4
    assert int(one.stages.began) == 2


@pytest.mark.parametrize(("every", "changes"), [(1, [1, 1, 1, 1]), (2, [1, 0, 1, 0])])
def test_targets_are_made_anew_every_few_epochs(every, changes):
    one, found = train(learner(target_epochs=every), 3), []
    for number in range(3, 7):
        before = one.stages.targets.clone()
        train(one, 1, number)
        found.append(int(not torch.equal(before, one.stages.targets)))
    assert found == changes


def test_the_softmax_begins_with_the_clusters_of_the_codes():
    one = train(learner(), 2)
    codes_NF = one.embed(images()).features
    one.start_epoch(epoch(2))
    expected = KMeans.create(clusters=3, seed=2, n_init=20, normalize=False).fit(codes_NF.detach().numpy())
    assert one.stages.initial.tolist() == expected.tolist()
    assert len(np.unique(expected)) == 3
    embedding = one.embed(images())
    assert embedding.probabilities.argmax(1).tolist() == expected.tolist()
    assert torch.equal(one.stages.targets.argmax(1), one.stages.initial)
    codes = codes_NF.detach().double().numpy()
    means = np.array([codes[expected == k].mean(0) for k in range(3)])
    squares = ((codes[:, None] - means) ** 2).sum(-1)
    spread = squares[np.arange(60), expected].mean()
    chances = [reference.softmax(row) for row in -squares / spread]
    np.testing.assert_allclose(embedding.probabilities.detach(), chances, atol=1e-4)


def test_an_empty_cluster_harms_nothing():
    one = learner(pretrain_epochs=0)

    class Lone:
        def build(self, **runtime):
            return self

        def fit(self, codes):
            return np.zeros(len(codes), dtype=np.int64)

    one.config = one.config.model_copy(update={"initial": Lone()})
    one.start_epoch(epoch(0))
    assert one.embed(images()).probabilities.isfinite().all()


@pytest.mark.parametrize(("power", "frequency"), [(1.0, 0.5), (2.0, 1.0)])
def test_targets_come_from_the_clean_predictions_of_all_images(power, frequency):
    solver = {"name": "sharpen", "power": power, "frequency": frequency}
    one = learner(solver=solver, dropout=(0.5, 0.5, 0.5), pretrain_epochs=0, warm_epochs=0)
    one.start_epoch(epoch(0))
    with torch.no_grad():
        one.head.weight.copy_(torch.tensor([[3.0, -3, 2], [-3, 3, 2], [2, 3, -3]]))
        one.head.bias.copy_(torch.tensor([0.5, 0.0, -0.5]))
    logits = one.head(one.autoencoder(images().float() / 127.5 - 1)).detach().double().numpy()
    one.start_epoch(epoch(1))
    found = one.stages.targets.numpy()
    np.testing.assert_allclose(found, reference.targets(logits, power, frequency), atol=1e-5)
    assert np.abs(found - reference.targets(logits, power, 0.0)).max() > 1e-3


def test_a_step_reads_its_own_images_targets():
    one = train(learner(), 4)
    progress, shown = epoch(3).progress, batch()
    loss = one(shown, progress, 1)["loss/clustering"].item()
    one.stages.targets[12:] = one.stages.targets[12:].roll(1, 1)
    assert one(shown, progress, 1)["loss/clustering"].item() == loss
    one.stages.targets[3] = one.stages.targets[3].roll(1)
    assert one(shown, progress, 1)["loss/clustering"].item() != loss


def test_the_second_stage_lowers_its_losses_and_finds_the_kinds():
    one = train(learner(pretrain_epochs=8), 12)
    kinds = torch.arange(60) % 3
    table = torch.zeros(3, 3).index_put((kinds, one.embed(images()).probabilities.argmax(1)), torch.ones(60), True)
    assert (table.max(1).values >= 18).all()
    assert len(table.argmax(1).unique()) == 3


def test_patience_ends_the_pretraining_and_held_out_images_teach_nothing():
    one = learner(pretrain_epochs=50, patience=2)
    errors = iter([5.0, 4.0, 4.5, 4.2, 3.0])
    one._error = lambda clean, drawn: torch.full((len(clean[0]),), next(errors))
    began = [one.start_epoch(epoch(number)) or one.stages.clusters for number in range(5)]
    assert began == [False] * 4 + [True]  # the first one holds out; 5, 4, then two that aren't lower
    assert one.stages.held.sum() == 6

    one = learner(pretrain_epochs=50, patience=2)
    one.start_epoch(epoch(0))
    held = one.stages.held.nonzero().flatten()
    shown = dataclasses.replace(batch(60))
    before = one(shown, epoch(0).progress, 1)["loss"]
    changed = shown.images.clone()
    changed[held] = 255 - changed[held]
    assert torch.equal(one(dataclasses.replace(shown, images=changed), epoch(0).progress, 1)["loss"], before)
    changed = 255 - shown.images
    assert not torch.equal(one(dataclasses.replace(shown, images=changed), epoch(0).progress, 1)["loss"], before)


def test_held_out_error_is_that_of_the_clean_path_on_the_held_out_images():
    one = learner(pretrain_epochs=50, patience=2)
    one.start_epoch(epoch(0))
    one.start_epoch(epoch(1))
    x = images()[one.stages.held].float() / 127.5 - 1
    clean, code = one.autoencoder.encode(x)
    expected = one._error(clean, one.autoencoder.drawn(code)).mean()
    assert one.stages.best.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("epochs", [3, 4])
def test_stages_load_whatever_they_held(epochs):
    one = train(learner(patience=1, pretrain_epochs=3), epochs)
    fresh = learner(patience=1, pretrain_epochs=3)
    fresh.load_state_dict(one.state_dict())
    assert fresh.stages.clusters is one.stages.clusters is (epochs == 4)
    assert one.stages.best < torch.inf
    loaded = dict(fresh.stages.named_buffers())
    for name, value in one.stages.named_buffers():
        assert torch.equal(loaded[name], value), name
    assert not Stages().clusters


def problems(facts=FACTS, clusters=3, batch_size=12, steps=500, **settings):
    found = Depict.Config(**settings).check_recipe(RecipeFacts(facts, clusters, batch_size, steps, 100))
    return [(problem.path, problem.severity) for problem in found]


def test_problems_are_told_before_training():
    assert problems(pretrain_epochs=99) == []
    assert problems(pretrain_epochs=100) == [("learner.pretrain_epochs", "warning")]
    assert problems(pretrain_epochs=5, clusters=61) == [("clusters", "error")]
    few = {"channels": (4, 4, 4, 4), "dropout": (0.1,) * 5}
    assert problems(pretrain_epochs=5, **few) == [("learner.channels", "error")]
    with pytest.raises(ValueError, match="a rate for the image and for each of 2 convolutions"):
        Depict.Config(dropout=(0.1, 0.1))


def test_it_waits_for_nothing_in_a_step():
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    for one in (train(learner(patience=3), 1), train(learner(), 4)):
        with Watch():
            one(batch(), Progress(0, 0, 100, 5), 1)["loss"].backward()
    assert "_log_softmax" in seen
    assert not seen & {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "lift_fresh"}
