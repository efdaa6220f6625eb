"""--set: what it changes, and what does not fit."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_case import problems, toy_folder
from toy_parts import RECIPE

from imcswav.recipe.files import load_recipe
from imcswav.recipe.merge import joined, parse_overrides, typed


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    return toy_folder(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("seed=3", lambda r: r.seed, 3),
        ("trainer.epochs = 5", lambda r: r.trainer.epochs, 5),
        ("predict.views=8", lambda r: r.predict.views, 8),
        ("name=abc", lambda r: r.name, "abc"),
        ("name=2024", lambda r: r.name, "2024"),
        ("name='q'", lambda r: r.name, "q"),
        ("data.label=2024-01-01", lambda r: r.data.label, "2024-01-01"),
        ("data.label=a=b", lambda r: r.data.label, "a=b"),
        ("data.label=", lambda r: r.data.label, ""),
        ("data.count=null", lambda r: r.data.count, 100),
        ("trainer.clip_gradient=1", lambda r: r.trainer.clip_gradient, 1.0),
        ("losses.0.temperature=0.5", lambda r: r.learner.losses[0].temperature, 0.5),
        ("losses.0.solver=flat", lambda r: r.learner.losses[0].solver.owner.name, "flat"),
        ("losses.0.solver.name=sharp", lambda r: r.learner.losses[0].solver.epsilon, 0.1),
        ("losses.0=null", lambda r: [loss.owner.name for loss in r.learner.losses], ["push"]),
        ("learner.losses.1.margin=4", lambda r: r.learner.losses[1].margin, 4.0),
        ("mode=odd", lambda r: r.learner.mode, "odd"),
        ("heads.'out'.hidden=[1, 2]", lambda r: r.learner.heads["out"].hidden, (1, 2)),
        ("heads.new=line", lambda r: set(r.learner.heads), {"out", "new"}),
        ("optimizer={momentum=0.5}", lambda r: (r.optimizer.lr, r.optimizer.momentum), (0.01, 0.5)),
        ("evaluation.metrics=['acc']", lambda r: len(r.evaluation.metrics), 1),
        ("callbacks.console.enabled=false", lambda r: r.callbacks["console"].enabled, False),
    ],
)
def test_overrides(folder, override, read, value):
    assert read(load_recipe("toy.toml", [override])) == value


def test_overrides_as_a_mapping(folder):
    changes = {"trainer.epochs": 5, "data": {"name": "folder", "root": Path("/x")}, "heads.out.width": None}
    recipe = load_recipe("toy.toml", changes)
    assert (recipe.trainer.epochs, recipe.data.root, recipe.learner.heads["out"].width) == (5, Path("/x"), 8)


@given(
    st.permutations(
        [
            "data.name=folder",
            "data.root=/x",
            "losses.0.solver.iterations=7",
            "losses.0.name=pull",
            "data.limit=3",
            "losses.0.solver.name=sharp",
            "heads.out.width=4",
            "schedule.at=0.1",
            "schedule=drop",
            "losses.1=null",
        ]
    )
)
def test_the_order_of_overrides_does_not_matter(overrides):
    recipe = load_recipe(tomllib.loads(RECIPE), overrides)
    assert (recipe.data.root, recipe.data.limit) == (Path("/x"), 3)
    assert recipe.learner.losses[0].solver.iterations == 7
    assert (recipe.learner.heads["out"].width, recipe.schedule.at, len(recipe.learner.losses)) == (4, 0.1, 1)


@pytest.mark.parametrize(
    "overrides",
    [
        [{"trainer.epochs": 3}, {"trainer": {"epochs": 4}}],
        [{"trainer.epochs": 3}, "trainer={epochs = 4}"],
        ["trainer={epochs = 3}", "trainer.epochs=4"],
        {"trainer.epochs": 3, "trainer": {"epochs": 4}},
    ],
)
def test_a_table_is_its_settings(folder, overrides):
    assert load_recipe("toy.toml", overrides).trainer.epochs == 4


def test_a_name_in_a_table_comes_before_its_settings(folder):
    for overrides in (["losses.0={margin=4.0}", "losses.0.name=push"], [{"losses.0": {"margin": 4.0, "name": "push"}}]):
        assert load_recipe("toy.toml", overrides).learner.losses[0].margin == 4.0


def test_a_whole_value_takes_the_place_of_what_was_given_before_it(folder):
    def solver(*overrides):
        return load_recipe("toy.toml", overrides).learner.losses[0].solver

    sharp = "losses.0.solver={name='sharp', epsilon=0.5}"
    assert solver("losses.0.solver=flat", "losses.0.solver.name=sharp").owner.name == "sharp"
    assert solver("losses.0.solver.name=sharp", "losses.0.solver=flat").owner.name == "flat"
    assert solver("losses.0.solver=flat", sharp).epsilon == 0.5
    assert solver(sharp, "losses.0.solver=flat").owner.name == "flat"
    assert solver(sharp, {"losses.0.solver": "sharp"}).epsilon == 0.1
    assert load_recipe("toy.toml", [{"trainer": {"epochs": 3}}, {"trainer": {"epochs": None}}]).trainer.epochs == 100


def test_mistakes_of_a_file_are_not_those_of_an_override_beside_them(folder):
    (folder / "wrong.toml").write_text('extends = "toy.toml"\n\n[[losses]]\nname = "push"\nmargim = 3\n')
    found = problems("wrong.toml", ["mode=odd", "trainer.log_every=5"])
    assert [one.where for one in found.values()] == ["wrong.toml:5"]


def test_the_later_of_two_equal_paths_wins(folder):
    assert load_recipe("toy.toml", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.epochs=-1", "--set: trainer.epochs: must be at least 0, not -1."),
        ("trainer.epochs=many", "--set: trainer.epochs: must be a whole number, not 'many'."),
        ("trainer.epohcs=1", "--set: trainer.epohcs: is no setting of this table. Did you mean 'epochs'?"),
        ("losses.2.margin=1", "--set: losses.2: there is no such entry; losses has entries 0 to 1."),
        ("losses.x.margin=1", "--set: losses.x: there is no such entry; losses has entries 0 to 1."),
        ("losses.5=null", "--set: losses.5: there is no such entry"),
        ("seed.x=1", "--set: seed: must be a whole number, not a table."),
        ("data.count.x=1", "--set: data.count: is 50 and has no 'x'."),
        ("losses.0.solver.epsilom=1", "Did you mean 'epsilon'?"),
        ("data.name=folder", "--set: data.root: is missing."),
        ("data.name=fodler", "--set: data.name: there is no data 'fodler'. Did you mean 'folder'?"),
        (
            "losses.0.solver=shrap",
            "--set: losses.0.solver.name: there is no solver 'shrap'. Did you mean 'sharp'?",
        ),
        (
            "optimzer.lr=1",
            "--set: optimzer: is no setting of the recipe or of the learner 'multiview'. Did you mean",
        ),
        # as it was written, the learner's settings below [learner] or not
        ("learner.margin=x", "--set: learner.margin: "),
        ("learner={margin = 'x'}", "--set: learner.margin: "),
        ("margin=x", "--set: margin: "),
        ("seed", "--set: 'seed': is no setting. Write path=value."),
        ("=3", "Write path=value."),
        (".".join("a" * 99) + "=1", "is followed by more than 40 keys."),
        (f"data.label={'[' * 60}{']' * 60}", "is nested more than 40 deep."),
        ("seed=0x" + "f" * 9999, "must be a number of at most 64 bits."),
        ("data.label=\udcff", "must be valid Unicode text."),
        ("clusters=null", "clusters: is missing."),
    ],
)
def test_overrides_that_do_not_fit(folder, override, message):
    found = problems("toy.toml", [override])
    assert message in "\n".join(map(str, found.values()))


def test_values_can_be_typed(tmp_path):
    """What was given from Python stands in the records of a ladder as on the command line."""
    values = {
        "seed": 3,
        "trainer": {"device": "cpu", "epochs": 2},
        "name": 'a "b"',
        "learner.x": [1.5, True],
        "y": None,
    }
    values |= {"data.root": "/tmp/ü 😀", "learner.y": float("inf")}
    texts = typed([values, "clusters=4 "])
    assert texts[-1] == "clusters=4"
    mixed, words = parse_overrides([values, "clusters=4"])[0], parse_overrides(texts)[0]
    assert [(one.path, one.value) for one in mixed] == [(one.path, one.value) for one in words]
    assert {one.where for one in words} == {"--set"}
    assert {one.path[-1] for one in mixed if one.where} == {"clusters"}


def test_further_changes_have_the_last_word():
    for first in ("seed=3", ["seed=3"], {"seed": 3}):
        assert [one.value for one in parse_overrides(joined(first, {"seed": 4}))[0]][-1] == 4
        assert [one.value for one in parse_overrides(joined(first, {}))[0]] == [3]
