"""Every shipped recipe loads, checks, and trains two steps on fake data of its shape."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

import imcswav
from imcswav.check import check_recipe
from imcswav.data import Batch, DataFacts
from imcswav.data.array import ArrayData
from imcswav.recipe.files import dump_recipe, load_recipe, recipe_names
from imcswav.recipe.ladders import find_ladder, ladder_names
from imcswav.step import Progress

IMAGES = {32: 40, 128: 16, 1024: 8}
"""Of fake data, by the largest size in pixels."""
ON_DISK = (
    "folder", "folder_small", "folder_pretrained", "folder_finetuned", "imc_swav_tiny_imagenet", "swav_imagenet",
    "swav_imagenet_small_batch",
)  # fmt: skip
"""Recipes whose images nobody can fetch."""
LONG = ("swav_imagenet", "imc_swav_plus_cifar10_small", "imc_swav_plus_cifar100_20", "imc_swav_plus_stl10")
"""Recipes whose two steps take long; another one that is much alike is trained all the same."""


def test_the_named_recipes_are_shipped():
    assert {
        "digits", "folder", "folder_small", "imc_swav_cifar10", "imc_swav_cifar10_small", "imc_swav_cifar100_20",
        "imc_swav_cifar100", "imc_swav_stl10", "imc_swav_tiny_imagenet", "swav_cifar10", "imc_swav_plus_cifar10",
        "imc_swav_plus_cifar10_small", "imc_swav_plus_cifar100_20", "imc_swav_plus_stl10", "swav_imagenet",
        "swav_imagenet_small_batch",
    } <= set(recipe_names())  # fmt: skip


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_loads_checks_and_round_trips(name, tmp_path):
    recipe = load_recipe(name, ["data.root=nowhere"] if name in ON_DISK else [])
    problems = check_recipe(recipe)
    lacking = (["data.root"] if name in ON_DISK else []) + (["init.rung"] if recipe.init else [])
    assert [p.path for p in problems if p.severity == "error"] == lacking
    (tmp_path / "copy.toml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "copy.toml") == recipe


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in recipe_names()]
)
def test_recipe_trains_two_steps(name, tmp_path):
    recipe = load_recipe(name)
    facts = recipe.data.facts() if name not in ON_DISK else None
    channels, size = (facts.channels, facts.size) if facts else (recipe.data.channels, recipe.data.size)
    count = next(count for largest, count in IMAGES.items() if size <= largest)
    batch = 4 if size <= 32 else 2
    clusters = min(recipe.clusters, count // 2)  # not more than there are images
    clusters = min(clusters, batch) if recipe.init else clusters  # a batch has a label for each of its own
    images = np.random.default_rng(0).integers(0, 256, (count, channels, size, size), dtype=np.uint8)
    data = ArrayData.of(images, labels=np.arange(count) % clusters)
    data.train.subsets = {subset: torch.arange(count) % 8 > 0 for subset in (facts.subsets if facts else ())}
    small = {"trainer.batch_size": batch, "trainer.max_steps": 2, "trainer.threads": 1, "clusters": clusters}
    small |= {"evaluation.plots": False, "evaluation.signals": False}  # they take longer than the two steps
    if data.train.subsets:
        small["learner.bank.images"] = 2  # few enough for a loss in these two steps
    if getattr(recipe.learner.backbone, "pretrained", False):
        small["backbone.pretrained"] = False  # nothing is downloaded in a test
    if recipe.init:
        rung = "/".join([*name.split("/")[:-1], recipe.init.rung])
        small["init.run"] = str(imcswav.run(rung, small, out=tmp_path / "first", data=data).path)
    result = imcswav.run(name, small, out=tmp_path / "run", data=data, warn=lambda problem: None)
    assert result.summary["steps"] == min(2, recipe.trainer.epochs)
    assert 0 <= result.summary["acc"] <= 1
    assert result.summary["knn"] is not None


PUBLISHED = {
    "clusters": 10,
    "views.crops": [
        {"count": 2, "size": 28, "scale": [0.2, 1.0]},
        {"count": 4, "size": 18, "scale": [0.08, 0.4]},
    ],
    "views.ratio": [3 / 4, 4 / 3],
    "views.flip": 0.5,
    "views.jitter": 0.8,
    "views.brightness": 0.4,
    "views.contrast": 0.4,
    "views.saturation": 0.4,
    "views.hue": 0.1,
    "views.grey": 0.25,
    "views.blur": 0.0,
    "views.solarize": 0.0,
    "views.rotation": 0.0,
    "views.mean": [0.4914, 0.4822, 0.4465],
    "views.std": [0.2023, 0.1994, 0.2010],
    "backbone.model": "resnet18",
    "backbone.stem": "small",
    "backbone.pretrained": False,
    "backbone.arguments": {"zero_init_last": False},
    "heads.projection.hidden": [512],
    "heads.projection.width": 128,
    "heads.projection.norm": "none",
    "heads.projection.bias": True,
    "heads.projection.detach": False,
    "heads.prototypes.input": "projection",
    "heads.prototypes.count": 1000,
    "heads.prototypes.freeze_steps": 500,
    "heads.classifier.input": "features",
    "heads.classifier.hidden": [1024, 1024],
    "heads.classifier.norm": "batch",
    "heads.classifier.activation": "relu",
    "heads.classifier.width": "clusters",
    "heads.classifier.detach": True,
    "losses.0.name": "swav",
    "losses.0.weight": 1.0,
    "losses.0.temperature": 0.1,
    "losses.0.solver.name": "sinkhorn",
    "losses.0.solver.epsilon": 0.05,
    "losses.0.solver.iterations": 3,
    "losses.1.name": "imc",
    "losses.1.weight": 1.0,
    "losses.1.temperature": 0.1,
    "losses.1.entropy_weight": 4.0,
    "losses.1.penalty": 0.01,
    "losses.1.threshold": 5.0,
    "learner.batch_norm": "per_view",
    "optimizer.name": "adam",
    "optimizer.lr": 5e-4,
    "optimizer.betas": [0.8, 0.999],
    "optimizer.weight_decay": 1e-5,
    "schedule.name": "multistep",
    "schedule.warmup_steps": 500,
    "schedule.milestones": [0.3, 0.6, 0.8],
    "schedule.gamma": 0.4,
    "trainer.epochs": 500,
    "trainer.batch_size": 256,
    "predict.views": 1,
}
CIFAR100_20 = PUBLISHED | {
    "clusters": 20,
    "data.labels": "coarse",
    "views.mean": [0.5071, 0.4867, 0.4408],
    "views.std": [0.2675, 0.2565, 0.2761],
}
CIFAR100 = CIFAR100_20 | {"clusters": 100, "data.labels": "fine", "trainer.batch_size": 512, "optimizer.lr": 5e-4}
STL10 = PUBLISHED | {
    "data.name": "stl10",
    "data.unlabelled": True,
    "views.crops": [
        {"count": 2, "size": 76, "scale": [0.2, 1.0]},
        {"count": 4, "size": 52, "scale": [0.08, 0.4]},
    ],
    "views.mean": [0.43, 0.42, 0.39],
    "views.std": [0.27, 0.26, 0.27],
    "backbone.stem": "small_pool",
    "bank.subset": "labelled",
    "bank.images": 256,
    "bank.losses": ["imc"],
    "bank.idle_steps": True,
}
TINY_IMAGENET = PUBLISHED | {
    "clusters": 200,
    "data.name": "tiny_imagenet",
    "views.crops": [
        {"count": 2, "size": 56, "scale": [0.2, 1.0]},
        {"count": 4, "size": 36, "scale": [0.08, 0.4]},
    ],
    "views.mean": [0.485, 0.456, 0.406],
    "views.std": [0.229, 0.224, 0.225],
    "backbone.stem": "small_pool",
    "trainer.batch_size": 512,
}

SWAV_IMAGENET = {
    "data.placement": "stream",
    "views.crops": [
        {"count": 2, "size": 224, "scale": [0.14, 1.0]},
        {"count": 6, "size": 96, "scale": [0.05, 0.14]},
    ],
    "views.flip": 0.5,
    "views.jitter": 0.8,
    "views.brightness": 0.8,
    "views.contrast": 0.8,
    "views.saturation": 0.8,
    "views.hue": 0.2,
    "views.grey": 0.2,
    "views.blur": 0.5,
    "views.blur_sigma": [0.1, 2.0],
    "views.mean": [0.485, 0.456, 0.406],
    "views.std": [0.228, 0.224, 0.225],
    "backbone.model": "resnet50",
    "backbone.stem": "imagenet",
    "backbone.pretrained": False,
    "heads.projection.hidden": [2048],
    "heads.projection.norm": "batch",
    "heads.projection.width": 128,
    "heads.prototypes.count": 3000,
    "heads.prototypes.freeze_steps": 313,
    "losses.0.temperature": 0.1,
    "losses.0.solver.epsilon": 0.05,
    "losses.0.solver.iterations": 3,
    "losses.0.queue": 0,
    "optimizer.name": "lars",
    "optimizer.lr": 4.8,
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 1e-6,
    "optimizer.trust_coeff": 0.001,
    "optimizer.trust_clip": False,
    "optimizer.always_adapt": True,
    "optimizer.decay_norms": True,
    "schedule.name": "cosine",
    "schedule.warmup_epochs": 10,
    "schedule.warmup_start": 0.3 / 4.8,
    "schedule.final": 0.001,
    "trainer.epochs": 800,
    "trainer.batch_size": 4096,
}
SWAV_SMALL_BATCH = SWAV_IMAGENET | {
    "heads.prototypes.freeze_steps": 5005,
    "losses.0.queue": 3840,
    "losses.0.queue_start": 15,
    "optimizer.lr": 0.6,
    "schedule.warmup_epochs": 0,
    "trainer.epochs": 400,
    "trainer.batch_size": 256,
}


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("swav_imagenet", SWAV_IMAGENET),
        ("swav_imagenet_small_batch", SWAV_SMALL_BATCH),
        ("imc_swav_cifar10", PUBLISHED),
        ("imc_swav_cifar100_20", CIFAR100_20),
        ("imc_swav_cifar100", CIFAR100),
        ("imc_swav_stl10", STL10),
        ("imc_swav_tiny_imagenet", TINY_IMAGENET),
    ],
)
def test_published_settings(name, published):
    """The released program's numbers; a slip in one of them would show after hours of training only."""
    tables = load_recipe(name).tables()
    for path, expected in published.items():
        value = tables
        for key in path.split("."):
            value = value[int(key) if isinstance(value, list) else key]
        assert value == expected, path
    assert "activation" not in tables["heads"]["projection"]  # unset and without norm: none


@pytest.mark.parametrize(
    ("name", "images", "steps"),
    [("imc_swav_cifar10", 50_000, 195), ("imc_swav_cifar100", 50_000, 97), ("imc_swav_stl10", 105_000, 410)],
)
def test_steps_an_epoch_are_the_published_ones(name, images, steps):
    recipe = load_recipe(name)
    assert recipe.data.facts().images == images
    assert recipe.trainer.steps(images) == 500 * steps


def test_learning_rate_follows_the_published_epochs():
    recipe = load_recipe("imc_swav_cifar10")
    schedule = recipe.schedule.build()
    rates = [schedule.factor(Progress(step, step // 195, 97_500, 195)) for step in range(97_500)]
    assert rates[0] == 1 / 500
    assert rates[498] == 499 / 500
    assert rates[499] == rates[150 * 195 - 1] == 1
    for epoch, power in ((150, 1), (300, 2), (400, 3)):
        assert rates[epoch * 195 - 1] == pytest.approx(0.4 ** (power - 1))
        assert rates[epoch * 195] == pytest.approx(0.4**power)


def loss_of_separate_calls(learner, views):
    """The released program's step as it is described: every view alone, every pair in a loop."""
    heads, scores, logits = learner.heads, [], []
    for view in views:
        features = learner.backbone(view)
        logits.append(heads["classifier"](features.detach()))
        scores.append(functional.normalize(heads["projection"](features), dim=-1) @ heads["prototypes"].weight.T)
    swapped = []
    for i in range(2):
        code = sinkhorn(scores[i].detach())
        swapped += [-(code * (scores[v] / 0.1).log_softmax(-1)).sum(-1).mean() for v in range(6) if v != i]
    information = []
    for a in range(6):
        for b in range(6):
            joint = logits[a].softmax(-1).T @ (scores[b].detach() / 0.1).softmax(-1)
            joint = joint / joint.sum()
            y, u = joint.sum(1, keepdim=True), joint.sum(0, keepdim=True)
            information.append(-(joint * (joint / u).log()).sum() + 4 * (y * y.log()).sum())
    penalty = [0.01 * (y.abs() - 5).relu().sum(1).mean() for y in logits]
    return sum(swapped) / 10 + sum(information) / 36 + sum(penalty) / 6


def sinkhorn(scores):
    q = (scores / 0.05).exp().T
    q = q / q.sum()
    for _ in range(3):
        q = q / q.sum(1, keepdim=True) / q.shape[0]
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T


def test_a_step_of_the_paper_recipe_equals_separate_calls(monkeypatch):
    """Loss, every gradient and every running statistic, in float64, with smaller heads."""
    recipe = load_recipe("imc_swav_cifar10", ["heads.prototypes.count=30", "heads.classifier.hidden=[32, 32]"])
    facts = DataFacts(50_000, 3, 32, (0.5,) * 3, (0.25,) * 3)
    torch.manual_seed(0)
    ours = recipe.learner.build(facts=facts, clusters=10).double().train()
    theirs = copy.deepcopy(ours)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    crops = [group.double() for group in ours.views(images, 5)]
    monkeypatch.setattr(ours, "views", lambda images, seed: crops)
    loss = ours(Batch(images, torch.arange(4)), Progress(0, 0, 10, 10), 5)["loss"]
    loss.backward()
    expected = loss_of_separate_calls(theirs, [view for group in crops for view in group])
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9)
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=1e-9, msg=name)
    for (name, one), other in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("ladder", ladder_names())
def test_a_rung_keeps_the_settings_of_the_losses_that_it_lists_anew(ladder):
    """A list replaces the one below it, and what isn't said again would be the default."""
    found = find_ladder(ladder)
    losses = {
        rung: {loss.owner.name: loss.model_dump(exclude={"weight"}) for loss in load_recipe(path).learner.losses}
        for rung, path in found.rungs.items()
    }
    for rung, below in found.below().items():
        for name in losses[rung].keys() & losses.get(below, {}).keys():
            assert losses[rung][name] == losses[below][name], (rung, name)
