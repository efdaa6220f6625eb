"""Figures that are expected: the rule, where they stand, and what a comparison writes."""

import json
import math
import tomllib

import numpy
import pytest
from pydantic import ValidationError
from tiny import blobs, short

from imcswav.data.array import ArrayData
from imcswav.errors import ImcswavError, RecipeError
from imcswav.recipe import Expected
from imcswav.recipe.files import load_recipe
from imcswav.results import tables
from imcswav.results.reproduction import _changes as changes
from imcswav.results.reproduction import judge, reproduce
from imcswav.results.series import Spread
from imcswav.runs import same_but_for_place


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
    assert Expected(acc_bn_test=0.7, std=0.01).figures() == {"acc_bn_test": (0.7, 0.01)}
    for wrong in ({"std": 0.1}, {"acc": 1.2}, {"acc": 0.5, "seeds": "4-0"}, {"acc": 0.5, "figure": 1}):
        with pytest.raises(ValidationError):
            Expected(**wrong)


def test_a_recipe_does_not_inherit_what_another_is_expected_to_give(tmp_path):
    assert load_recipe("imc_swav_cifar10").expected.acc_bn_test == 0.891
    (tmp_path / "mine.toml").write_text('extends = "imc_swav_cifar10.toml"\n[trainer]\nepochs = 5\n')
    assert load_recipe(tmp_path / "mine.toml").expected is None
    (tmp_path / "own.toml").write_text('extends = "mine.toml"\n[expected]\nacc = 0.5\n')
    assert load_recipe(tmp_path / "own.toml").expected == Expected(acc=0.5)
    assert load_recipe(tmp_path / "own.toml", ["expected.acc=0.6"]).expected.acc == 0.6
    assert load_recipe("imc_swav_cifar100_20").expected.acc_bn_test == 0.49


def test_it_passes_and_fails(recipe, tmp_path):
    recipe["expected"] = {"acc": 0.5, "seeds": "2-3"}
    done = reproduce(recipe, out=tmp_path / "good", data=images())
    assert done.passed
    assert list(done.seeds.runs) == [2, 3]
    record = json.loads((tmp_path / "good" / "reproduction.json").read_text())
    assert record["passed"] is True
    assert record["figures"]["acc"]["measured"]["n"] == 2
    assert "tolerance" in record["rule"]
    overrides = {"expected.nmi": 1.0, "optimizer.lr": 1e-9}
    bad = reproduce(recipe, overrides, seeds=[2], out=tmp_path / "bad", data=images())
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


def test_published_figures_are_compared_with_those_of_their_protocol(recipe, tmp_path, capsys):
    """What a test split is expected to give with its own statistics isn't what ``acc`` is compared with."""
    pixels, labels = blobs()
    numpy.savez(tmp_path / "x.npz", x_train=pixels, y_train=labels, x_test=pixels[:20], y_test=labels[:20])
    recipe["data"] = {"name": "numpy", "file": str(tmp_path / "x.npz")}
    recipe["expected"] = {"acc": 0.0, "acc_bn_test": 0.0, "std": 0.01}
    done = reproduce(recipe, out=tmp_path / "run")
    summary = done.seeds.runs[0].summary
    measured = {verdict.name: verdict.measured.mean for verdict in done.verdicts}
    assert measured == {"acc": summary["acc"], "acc_bn_test": summary["acc_bn_test"]}
    figures = json.loads((tmp_path / "run" / "reproduction.json").read_text())["figures"]
    on = "trained on train, scored on test; batch-norm statistics of"
    assert figures["acc"]["protocol"] == f"{on} training images"
    assert figures["acc_bn_test"]["protocol"] == f"{on} the test images"
    tables.reproduction(done)
    printed = " ".join(capsys.readouterr().out.split())
    assert f"ACC: {on} training images" in printed
    assert f"ACC (statistics of test images): {on} the test images" in printed


def test_statistics_of_test_images_need_a_test_split(recipe, tmp_path):
    recipe |= {"expected": {"acc_bn_test": 0.5}}
    recipe["data"] = {"name": "digits", "size": 8}  # it has one split
    with pytest.raises(RecipeError, match=r"expected\.acc_bn_test: is scored on a test split .* Expect acc instead"):
        reproduce(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ImcswavError, match=r"have no acc_bn_test to compare: .*there is no test split"):
        reproduce(recipe, out=tmp_path / "run", data=images())


@pytest.mark.parametrize("name", ["cifar10", "cifar100_20", "cifar100", "stl10", "tiny_imagenet"])
def test_published_recipes_expect_the_published_protocol(name):
    assert load_recipe(f"imc_swav_{name}").expected.figures().keys() == {"acc_bn_test"}


@pytest.mark.parametrize(
    ("override", "harmless"),
    [
        ("trainer.device=cpu", True), (" trainer.threads = 2", True), ("trainer.log_every=5", True),
        ("expected.acc=0.5", True), ("expected={acc = 0.5}", True), ("data.root=there", True),
        ("data.download=false", True), ("trainer={device = 'cpu', threads = 1}", True),
        ("data.rootless=1", False), ("trainer.device_x=1", False), ("trainer.epochs=5", False), ("data=digits", False),
        ("trainer={device = 'cpu', epochs = 1}", False), ("heads.projection.width=3", False), ("expected_x=1", False),
    ],
)  # fmt: skip
def test_what_counts_as_a_change(override, harmless):
    assert changes([override]) == ([] if harmless else [override.strip()])
    key, value = (part.strip() for part in override.split("=", 1))
    value = tomllib.loads(f"v = {value}")["v"] if value[0] in "{0123456789" else value
    assert [text.split("=")[0] for text in changes({key: value})] == ([] if harmless else [key])


def test_recipes_are_the_same_wherever_a_change_is_harmless(tiny):
    """Resuming and reproducing use one list."""
    one = load_recipe(tiny)
    for path in ("trainer.device", "trainer.threads", "trainer.log_every"):
        assert same_but_for_place(one, load_recipe(tiny, {path: "meta" if path.endswith("device") else 7}))
    assert same_but_for_place(one, load_recipe(tiny, {"expected": {"acc": 0.5}}))
    assert not same_but_for_place(one, load_recipe(tiny, {"trainer.epochs": 7}))
    assert not same_but_for_place(one, load_recipe(tiny, {"losses.0.weight": 7.0}))
