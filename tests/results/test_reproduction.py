"""Figures that are expected: the rule, where they stand, and what a comparison writes."""

import json
import math

import pytest
from pydantic import ValidationError
from tiny import blobs, short

from imcswav.data.array import ArrayData
from imcswav.errors import ImcswavError, RecipeError
from imcswav.recipe import Expected
from imcswav.recipe.files import load_recipe
from imcswav.results.reproduction import judge, reproduce
from imcswav.results.seeds import Spread


@pytest.fixture
def recipe(tiny):
    tiny["callbacks"]["console"] = {"enabled": False}
    return short(tiny)


def images():
    pixels, labels = blobs()
    return ArrayData.of(pixels, labels=labels)


@pytest.mark.parametrize(
    ("mean", "outcome"),
    [(0.9, "pass"), (0.875, "pass"), (0.87, "fail"), (0.925, "pass"), (0.93, "pass (above)")],
)
def test_three_deviations_of_the_difference_of_two_means(mean, outcome):
    expected = Expected(acc=0.9, std=0.01, runs=4, tolerance=0.001)
    (verdict,) = judge(expected, {"acc": Spread(mean, None, 2)})
    assert verdict.allowed == pytest.approx(3 * 0.01 * math.sqrt(1 / 4 + 1 / 2))
    assert verdict.outcome == outcome


def test_never_less_than_the_tolerance():
    (verdict,) = judge(Expected(acc=0.9, tolerance=0.02), {"acc": Spread(0.88, None, 1)})
    assert (verdict.allowed, verdict.outcome) == (0.02, "pass")  # exactly the tolerance
    (verdict,) = judge(Expected(acc=0.9), {"acc": Spread(0.889, None, 1)})
    assert (verdict.allowed, verdict.outcome) == (0.01, "fail")


def test_each_figure_has_its_deviation():
    assert Expected(acc=0.9, ari=0.8, std=0.01, ari_std=0.03).figures() == {"acc": (0.9, 0.01), "ari": (0.8, 0.03)}
    assert Expected(nmi=0.7, std=0.01).figures() == {"nmi": (0.7, 0.01)}
    for wrong in ({"std": 0.1}, {"acc": 1.2}, {"acc": 0.5, "seeds": "4-0"}, {"acc": 0.5, "figure": 1}):
        with pytest.raises(ValidationError):
            Expected(**wrong)


def test_a_recipe_does_not_inherit_what_another_is_expected_to_give(tmp_path):
    assert load_recipe("imc_swav_cifar10").expected.acc == 0.891
    (tmp_path / "mine.toml").write_text('extends = "imc_swav_cifar10.toml"\n[trainer]\nepochs = 5\n')
    assert load_recipe(tmp_path / "mine.toml").expected is None
    (tmp_path / "own.toml").write_text('extends = "mine.toml"\n[expected]\nacc = 0.5\n')
    assert load_recipe(tmp_path / "own.toml").expected == Expected(acc=0.5)
    assert load_recipe(tmp_path / "own.toml", ["expected.acc=0.6"]).expected.acc == 0.6
    assert load_recipe("imc_swav_cifar100_20").expected.acc == 0.49


def test_it_passes_and_fails(recipe, tmp_path):
    recipe["expected"] = {"acc": 0.5, "seeds": "2-3"}
    done = reproduce(recipe, out=tmp_path / "good", data=images())
    assert done.passed
    assert list(done.seeds.runs) == [2, 3]
    record = json.loads((tmp_path / "good" / "reproduction.json").read_text())
    assert record["passed"] is True
    assert record["figures"]["acc"]["measured"]["n"] == 2
    assert "tolerance" in record["rule"]
    changes = {"expected.nmi": 1.0, "optimizer.lr": 1e-9}
    bad = reproduce(recipe, changes, seeds=[2], out=tmp_path / "bad", data=images())
    assert not bad.passed
    assert bad.changes == ["optimizer.lr=1e-09"]
    assert json.loads((tmp_path / "bad" / "reproduction.json").read_text())["passed"] is False


def test_the_recipes_own_seed_where_none_is_named(recipe, tmp_path):
    recipe |= {"expected": {"acc": 0.1}, "seed": 9}
    assert list(reproduce(recipe, out=tmp_path / "run", data=images()).seeds.runs) == [9]


def test_what_can_t_be_compared_is_said_before_a_run(recipe, tmp_path):
    with pytest.raises(RecipeError, match=r"expected: there is no such table"):
        reproduce(recipe, out=tmp_path / "run", data=images())
    recipe |= {"expected": {"ari": 0.1}, "evaluation": {"metrics": ["acc"]}}
    with pytest.raises(RecipeError, match="ari is expected, but no metric"):
        reproduce(recipe, out=tmp_path / "run", data=images())
    assert not (tmp_path / "run").exists()
    recipe["evaluation"] = {}
    with pytest.raises(ImcswavError, match="have no ari to compare"):
        reproduce(recipe, out=tmp_path / "run", data=ArrayData.of(blobs()[0]))
