"""Every shipped recipe loads, checks, and trains two steps on fake data of its shape."""

import numpy as np
import pytest

import imcswav
from imcswav.check import check_recipe
from imcswav.data.array import ArrayData
from imcswav.recipe_files import dump_recipe, load_recipe, recipe_names

IMAGES = 40


def test_the_named_recipes_are_shipped():
    assert {
        "digits", "folder", "imc_swav_cifar10", "imc_swav_cifar10_small", "imc_swav_cifar100_20", "swav_cifar10",
    } <= set(recipe_names())  # fmt: skip


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_loads_checks_and_round_trips(name, tmp_path):
    recipe = load_recipe(name, ["data.root=nowhere"] if name == "folder" else [])
    problems = check_recipe(recipe)
    assert [p.path for p in problems if p.severity == "error"] == (["data"] if name == "folder" else [])
    (tmp_path / "copy.toml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "copy.toml") == recipe


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_trains_two_steps(name, tmp_path):
    recipe = load_recipe(name)
    facts = recipe.data.facts() if name != "folder" else None
    channels, size = (facts.channels, facts.size) if facts else (recipe.data.channels, recipe.data.size)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, channels, size, size), dtype=np.uint8)
    data = ArrayData.of(images, labels=np.arange(IMAGES) % recipe.clusters)
    small = {"trainer.batch_size": 4, "trainer.max_steps": 2, "trainer.threads": 1}
    result = imcswav.run(name, small, out=tmp_path / "run", data=data, warn=lambda problem: None)
    assert result.summary["steps"] == 2
    assert 0 <= result.summary["acc"] <= 1
    assert result.summary["knn"] is not None


def test_published_settings_of_the_paper_recipe():
    """The numbers of the released program, from its description; a slip here would go unseen for days."""
    recipe = load_recipe("imc_swav_cifar10")
    learner = recipe.learner
    crops = [(crop.count, crop.size, tuple(crop.scale)) for crop in learner.views.crops]
    assert crops == [(2, 28, (0.2, 1.0)), (4, 18, (0.08, 0.4))]
    assert (learner.views.grey, learner.views.jitter, learner.views.hue, learner.views.blur) == (0.25, 0.8, 0.1, 0)
    assert learner.heads["projection"].activation is None or learner.heads["projection"].activation == "none"
    assert (learner.heads["prototypes"].count, learner.heads["prototypes"].freeze_steps) == (1000, 500)
    assert learner.heads["classifier"].detach
    swav, imc = learner.losses
    assert (swav.temperature, swav.solver.epsilon, swav.solver.iterations) == (0.1, 0.05, 3)
    assert (imc.entropy_weight, imc.penalty, imc.threshold) == (4.0, 0.01, 5.0)
    adam = recipe.optimizer
    assert (adam.lr, tuple(adam.betas), adam.weight_decay) == (5e-4, (0.8, 0.999), 1e-5)
    assert (recipe.trainer.epochs, recipe.trainer.batch_size) == (500, 256)
    assert [m * recipe.trainer.epochs for m in recipe.schedule.milestones] == [150, 300, 400]
