"""The bank: losses taken on a subset of the images, collected over batches (IMC-SwAV on STL-10)."""

import dataclasses
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import FACTS, SETTINGS, blobs, images, learner, settings, short

import imcswav
from imcswav.data import Batch
from imcswav.data.array import ArrayData
from imcswav.engine import Engine
from imcswav.errors import RecipeError
from imcswav.learners import RecipeFacts
from imcswav.learners._bank import plan
from imcswav.phases import NotRecordableError
from imcswav.recipe import TrainerSettings
from imcswav.schedules.constant import Constant
from imcswav.step import Output, Progress, Step
from imcswav.trainer import Trainer

SPLIT = dataclasses.replace(FACTS, subsets={"labelled": 40})
BANK = {"images": 10, "subset": "labelled"}
PER_EPOCH = 6


def banked(**changes):
    torch.manual_seed(0)
    return settings(bank=BANK | changes).build(facts=SPLIT, clusters=3)


def batches(count):
    """Batches of 8 with 3 or 4 images of the subset."""
    rows = [[0, 3, 5], [1, 2, 6, 7], [2, 3, 4], [0, 1, 7]]
    for number in range(count):
        pixels = images(8).roll(number, 0).roll(number, 3)
        yield Batch(pixels, torch.arange(8), {"labelled": torch.tensor(rows[number % 4])})


def run(net, count, start=0, optimizer=None):
    """Scalars of each step."""
    made = Engine(
        learner=net,
        optimizer=optimizer or torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=0.1),
        schedule=Constant.create(),
        settings=TrainerSettings(compile=False),
        device=torch.device("cpu"),
        seed=0,
    )
    net.train()
    return [
        made.step(batch, Progress(number, number // PER_EPOCH, 100, PER_EPOCH))
        for number, batch in enumerate(batches(start + count))
        if number >= start
    ]


def test_heads_that_only_banked_losses_read_are_run_on_the_bank():
    config = settings(bank=BANK)
    found = plan(config.bank, config.heads, config.order(), config.losses)
    assert found.losses == (1,)
    assert found.run == ("classifier",)
    assert found.keeps == ("features", "prototypes")


def test_a_banked_loss_is_that_of_all_held_images_in_one_batch():
    """Features and scores as they were in their own steps, the classifier as it is now."""
    net = banked().double()
    views = net.views
    net.views = lambda pixels, seed: [group.double() for group in views(pixels, seed)]
    net.train()
    kept, scalars = [], {}
    add = net.bank.add

    def spy(step, rows):
        kept.append({name: step[name][:, rows].detach() for name in ("features", "prototypes")})
        return add(step, rows)

    net.bank.add = spy
    for number, batch in enumerate(batches(3)):
        progress = Progress(number, 0, 100, PER_EPOCH)
        net.before_step(progress)
        scalars = net(batch, progress, number)
        assert ("loss/imc" in scalars) == (number == 2)
    features_VMF = torch.cat([one["features"] for one in kept], 1)
    assert features_VMF.shape[1] == 10
    logits_VMK = torch.stack([net.heads["classifier"](view_MF) for view_MF in features_VMF])  # six calls: per view
    step = Step(global_views=2)
    step.outputs["online.classifier"] = Output(logits_VMK, tuple(range(6)))
    step.outputs["online.prototypes"] = Output(torch.cat([one["prototypes"] for one in kept], 1), tuple(range(6)))
    expected = net.losses[1](step)
    assert scalars["loss/imc"].item() == pytest.approx(expected.item(), abs=1e-6)  # kept in single precision
    assert scalars["loss"].item() == pytest.approx((scalars["loss/swav"] + scalars["loss/imc"]).item())


def test_the_encoder_learns_what_it_would_without_the_bank():
    plain, own = learner(losses=[{"name": "swav"}]), banked()
    run(plain, 3)
    run(own, 3)
    for (name, left), right in zip(plain.backbone.named_parameters(), own.backbone.parameters(), strict=True):
        assert torch.equal(left, right), name


@pytest.mark.parametrize("idle_steps", [True, False])
def test_between_losses_heads_move_by_decay_or_rest(idle_steps):
    net = banked(idle_steps=idle_steps)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=0.1)
    weight = net.heads["classifier"].layers[0].weight
    before = weight.clone()
    run(net, 2, optimizer=optimizer)
    assert torch.equal(weight, before)  # never before the first loss
    run(net, 1, start=2, optimizer=optimizer)
    after = weight.clone()
    assert not torch.equal(after, before)
    run(net, 1, start=3, optimizer=optimizer)
    assert torch.equal(weight, after) != idle_steps


def test_an_epoch_starts_with_an_empty_bank():
    net = banked(images=30)
    run(net, PER_EPOCH)
    assert net.bank.counts.tolist() == [20, 0]
    run(net, 1, start=PER_EPOCH)
    assert net.bank.counts.tolist() == [3, 0]


def test_a_checkpoint_in_mid_epoch_has_what_the_bank_holds():
    whole, first, second = banked(), banked(), banked()
    expected = run(whole, 4)[-1]
    optimizer = torch.optim.Adam(first.parameters(), lr=1e-3, weight_decay=0.1)
    run(first, 2, optimizer=optimizer)
    second.load_state_dict(first.state_dict())
    run(third := banked(), 3)
    third.load_state_dict(first.state_dict())
    third.bank.before_step(Progress(2, 0, 100, PER_EPOCH))
    assert third.bank._counts == [7, 0]  # not what it had counted itself
    again = torch.optim.Adam(second.parameters(), lr=1e-3, weight_decay=0.1)
    again.load_state_dict(optimizer.state_dict())
    found = run(second, 2, start=2, optimizer=again)[-1]
    assert found["loss"] == expected["loss"]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_banked_losses_are_not_compiled():
    """Each time the bank is full it holds another number of images."""
    net = banked()
    net.compile_parts()
    assert [name for name in net._compiled if name.startswith("losses")] == [
        f"losses.{number}" for number in range(len(net.losses)) if number not in net.bank.plan.losses
    ]


def test_steps_are_not_recorded():
    with pytest.raises(NotRecordableError, match="bank"):
        banked().phase(Progress(0, 0, 10, 5))


def test_means_in_the_log_are_over_the_steps_that_had_the_loss():
    trainer = SimpleNamespace(_sums={}, _counts=Counter())
    trainer.engine = SimpleNamespace(weight_norm=lambda: torch.tensor(7.0))
    without, full = {"loss": 1.0, "gradient_norm": 8.0}, {"loss": 3.0, "loss/imc": 5.0, "gradient_norm": 8.0}
    for scalars in (without, full, without, full):  # in the order of a step, where a bank's are not the last
        Trainer._add_logs(trainer, {name: torch.tensor(value) for name, value in scalars.items()})
    assert Trainer._means(trainer) == {"loss": 2.0, "gradient_norm": 8.0, "loss/imc": 5.0, "weight_norm": 7.0}


def test_batches_name_the_rows_of_each_subset():
    data = ArrayData.of(blobs(20)[0])
    member = torch.arange(20) % 3 == 0
    data.train.subsets = {"labelled": member}
    seen = 0
    for batch in data.batches(0, seed=1, batch_size=5):
        assert batch.subsets["labelled"].tolist() == [row for row, index in enumerate(batch.index) if member[index]]
        seen += len(batch.subsets["labelled"])
    assert seen == 7
    assert data.facts.subsets == {"labelled": 7}


def test_a_run_trains_exports_and_predicts(tmp_path, tiny):
    pixels, labels = blobs(40)
    data = ArrayData.of(pixels, labels=np.where(np.arange(40) < 20, labels, -1))
    data.train.subsets = {"labelled": torch.arange(40) < 20}
    tables = short(tiny) | {"bank": {"images": 6}}
    result = imcswav.run(tables, {"trainer.log_every": 1}, out=tmp_path / "run", data=data)
    log = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert 0 < log.count("loss/imc") < log.count("loss/swav")
    model = imcswav.load(result.path)
    assert model.predict(pixels).shape == (40,)
    assert not [name for name in load_file(tmp_path / "run/model/weights.safetensors") if "bank" in name]
    rows = (tmp_path / "run" / "assignments.csv").read_text().splitlines()[1:]
    assert [row.split(",")[-1] for row in rows] == [*map(str, labels[:20]), *[""] * 20]


def problems(**changes):
    known = RecipeFacts(SPLIT, clusters=3, batch_size=8)
    return {problem.path: problem.message for problem in settings(**changes).check_recipe(known)}


def test_a_bank_that_can_t_work_is_refused():
    assert "no subset 'labeled'" in problems(bank=BANK | {"subset": "labeled"})["bank.subset"]
    assert "no loss 'imd'" in problems(bank=BANK | {"losses": ["imd"]})["bank.losses.0"]
    assert "train nothing" in problems(bank=BANK | {"losses": ["swav"]})["bank.losses"]
    shared = SETTINGS["losses"] + [{"name": "imc", "logits": "projection"}]
    assert "no loss is left" in problems(bank=BANK | {"losses": ["swav", "imc"]}, losses=shared)["bank.losses"]
    assert "the 40 images" in problems(bank=BANK | {"images": 41})["bank.images"]
    queued = SETTINGS["losses"] + [{"name": "swav", "queue": 10}]
    assert "every batch" in problems(bank=BANK | {"losses": ["swav"]}, losses=queued)["losses.2.queue"]
    assert problems(bank=BANK, losses=queued) == {}
    contrast = {"name": "prototype_contrast", "embeddings": "classifier", "targets": "classifier"}
    of_it = {"bank": BANK | {"losses": ["imc", "prototype_contrast"]}}
    assert "places" in problems(**of_it, losses=[*SETTINGS["losses"], contrast])["losses.2.labels"]
    assert problems(**of_it, losses=[*SETTINGS["losses"], contrast | {"labels": "classifier"}]) == {}
    with pytest.raises(RecipeError, match="no subset"):
        settings(bank=BANK).build(facts=FACTS, clusters=3)


def test_idle_steps_leave_frozen_prototypes_where_they_are():
    """A gradient of zeros would let the optimiser move them."""
    heads = SETTINGS["heads"] | {"own": {"name": "prototypes", "input": "projection", "count": 5, "freeze_steps": 100}}
    losses = [{"name": "swav"}, {"name": "imc", "scores": "own"}]
    net = settings(bank=BANK, heads=heads, losses=losses).build(facts=SPLIT, clusters=3)
    before = net.heads["own"].weight.clone()
    run(net, PER_EPOCH)
    assert net.bank._counts[1] > 0
    torch.testing.assert_close(net.heads["own"].weight, before, atol=1e-6, rtol=0)


def test_images_left_out_of_an_epoch_may_leave_the_bank_unfilled():
    split = dataclasses.replace(SPLIT, images=1000)
    checked = settings(bank=BANK | {"images": 40}).check_recipe(RecipeFacts(split, clusters=3, batch_size=300))
    (told,) = [problem for problem in checked if problem.path == "bank.images"]
    assert (told.severity, told.message[:34]) == ("warning", "100 images of an epoch fill no bat")
    assert not settings(bank=BANK | {"images": 40}).check_recipe(RecipeFacts(split, clusters=3, batch_size=250))


def test_a_head_on_a_banked_one_is_run_with_it():
    heads = SETTINGS["heads"] | {"last": {"name": "mlp", "input": "classifier", "width": "clusters"}}
    heads["classifier"] = heads["classifier"] | {"width": 6}
    net = settings(bank=BANK, heads=heads, assignment="last").build(facts=SPLIT, clusters=3)
    assert {"classifier", "last"} <= set(net.bank.plan.run)
    assert all(torch.isfinite(scalars["loss"]) for scalars in run(net, 4))


def test_a_misspelt_head_is_told_beside_a_bank():
    heads = SETTINGS["heads"] | {"classifier": SETTINGS["heads"]["classifier"] | {"input": "projektion"}}
    facts = RecipeFacts(data=SPLIT, clusters=3, batch_size=8)
    problems = settings(bank=BANK, heads=heads).check_recipe(facts)
    assert [problem.path for problem in problems if problem.severity == "error"] == ["heads.classifier.input"]
