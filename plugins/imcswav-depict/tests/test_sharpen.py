"""Targets against plain loops, what they must do, and that wrong exponents would do otherwise."""

import depict_loops as reference
import numpy as np
import pytest
import torch
from imcswav_depict import Sharpen

from imcswav.plugins import registry
from imcswav.testing import check_component

PAPER = {"power": 1.0, "frequency": 0.5}
PROGRAM = {"power": 2.0, "frequency": 1.0}


def solve(logits, **settings):
    return Sharpen.create(**settings)(torch.from_numpy(np.array(logits, dtype=float)).unsqueeze(0))[0].numpy()


def test_it_keeps_the_contract_and_recipes_find_it():
    check_component(Sharpen)
    assert registry().get("solver", "sharpen") is Sharpen


@pytest.mark.parametrize(
    "settings", [PAPER, PROGRAM, {"power": 1.5, "frequency": 0.0}, {**PROGRAM, "temperature": 0.3}]
)
def test_against_loops(settings):
    logits = np.random.default_rng(0).normal(size=(20, 4)) * 3
    found = solve(logits, **settings)
    np.testing.assert_allclose(found, reference.targets(logits, **settings), atol=1e-12)
    assert np.abs(found - reference.targets(logits, **(settings | {"frequency": 1.7}))).max() > 0.05
    assert np.abs(found - reference.targets(logits, **(settings | {"power": 3.0}))).max() > 0.05


def test_the_default_is_the_papers():
    logits = np.random.default_rng(0).normal(size=(20, 4))
    np.testing.assert_allclose(solve(logits), reference.targets(logits, **PAPER))


def test_two_images_by_hand():
    """p = (.8 .2), (.4 .6), so f = (1.2, .8); the program's q is .64/1.2 : .04/.8 = 32 : 3, and .16/1.2 : .36/.8."""
    logits = np.log([[0.8, 0.2], [0.4, 0.6]])
    np.testing.assert_allclose(solve(logits, **PROGRAM), [[32 / 35, 3 / 35], [8 / 35, 27 / 35]])
    root = np.sqrt(1.2 / 0.8)
    first = 0.8 / (0.8 + 0.2 * root)
    np.testing.assert_allclose(solve(logits, **PAPER)[0], [first, 1 - first])


@pytest.mark.parametrize("settings", [PAPER, PROGRAM])
def test_uniform_predictions_stay(settings):
    np.testing.assert_allclose(solve(np.zeros((6, 5)), **settings), np.full((6, 5), 0.2))


@pytest.mark.parametrize("settings", [PAPER, PROGRAM])
def test_a_cluster_ten_times_as_large_is_held_back(settings):
    rows = np.random.default_rng(1).normal(size=(8, 3))
    rows[:4, 0] += 2
    many = np.concatenate([rows, np.repeat(rows[:4], 9, 0)])
    before, after = solve(rows, **settings), solve(many, **settings)[:8]
    assert (after[:, 0] < before[:, 0] - 1e-3).all()
    off = settings | {"frequency": 0.0}
    np.testing.assert_allclose(solve(many, **off)[:8], solve(rows, **off))  # without the term it isn't


def used(frequency, seed):
    """Clusters used at the end, by two groups of 90 and 10 %: a softmax in turns with its targets."""
    random = np.random.default_rng(seed)
    x = torch.from_numpy(np.concatenate([random.normal(1, 1, (180, 1)), random.normal(-1, 1, (20, 1))]))
    x = torch.cat([x, torch.ones(200, 1, dtype=torch.float64)], 1)
    weight = torch.tensor(
        [[0.3, 0.5], [-0.3, -0.5]], dtype=torch.float64
    )  # cluster 1 is the smaller one from the start
    solver = Sharpen.create(power=2.0, frequency=frequency)
    for _ in range(60):
        target = solver((x @ weight.T).unsqueeze(0))[0]
        for _ in range(20):
            p = (x @ weight.T).softmax(1)
            weight -= 0.5 * (p - target).T @ x / len(x)
    return len((x @ weight.T).argmax(1).unique())


def test_without_the_frequency_term_small_clusters_die():
    with_term = [used(1.0, seed) for seed in range(5)]
    without = [used(0.0, seed) for seed in range(5)]
    assert with_term == [2] * 5
    assert sum(without) < sum(with_term)
