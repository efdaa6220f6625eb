import pytest
from pydantic import ValidationError
from toy_parts import TOYS

from imcswav import plugins
from imcswav.errors import Problem, RecipeError
from imcswav.recipe import DEFAULT_CALLBACKS, Recipe, gather

TABLES = {
    "name": "toy",
    "clusters": 3,
    "data": {"name": "made"},
    "losses": [{"name": "push"}],
    "optimizer": {"name": "walk", "lr": 0.1},
}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(plugins, "registry", lambda: TOYS)


def load(**changes):
    return Recipe.model_validate(TABLES | changes)


def test_what_the_recipe_does_not_know_belongs_to_the_learner():
    tables = {"seed": 1, "heads": {}, "losses": [], "learner": {"mode": "x", "heads": 3}}
    assert gather(tables) == {"seed": 1, "learner": {"mode": "x", "heads": {}, "losses": []}}
    assert gather({"learner": "other", "x": 1}) == {"learner": {"name": "other", "x": 1}}
    assert gather({"learner": "other"}) == {"learner": "other"}
    assert gather({"learner": 3, "x": 1}) == {"learner": 3, "x": 1}
    assert gather({"seed": 1}) == {"seed": 1}


@pytest.mark.parametrize("learner", [{}, {"mode": "plain"}, "multiview", {"name": "multiview"}])
def test_the_usual_learner_needs_no_name(learner):
    assert load(learner=learner) == load()


def test_tables_beside_a_ready_learner_are_refused():
    ready = load().learner
    with pytest.raises(ValidationError, match="losses"):
        load(learner=ready)
    tables = {key: value for key, value in TABLES.items() if key != "losses"}
    assert Recipe.model_validate(tables | {"learner": ready}) == load()


def test_the_usual_callbacks_are_there_unless_switched_off():
    recipe = load(callbacks={"console": {"enabled": False}, "second": {"name": "echo"}, "metrics": "echo"})
    assert set(recipe.callbacks) == {*DEFAULT_CALLBACKS, "second"}
    assert [part.owner.name for part in recipe.callbacks.values()].count("echo") == 2
    assert not recipe.callbacks["console"].enabled


def test_tables_put_the_learners_parts_at_the_top_and_its_settings_under_it():
    tables = load(mode="x", heads={"out": {"name": "line"}}).tables()
    assert tables["learner"] == {"name": "multiview", "mode": "x"}
    assert tables["heads"]["out"]["width"] == 8
    assert tables["losses"] == [{"name": "push", "weight": 1.0, "margin": 1.0}]
    assert "clusterer" not in tables
    assert "max_steps" not in tables["trainer"]
    assert Recipe.model_validate(tables) == load(mode="x", heads={"out": {"name": "line"}})


def test_a_learners_setting_called_like_the_recipes_stays_under_it(monkeypatch):
    base = TOYS.get("learner", "other")

    class Twin(base, name="twin"):
        class Config(base.Config):
            data: dict[str, int] = {"x": 1}

    monkeypatch.setitem(TOYS.classes, ("learner", "twin"), Twin)
    tables = {key: value for key, value in TABLES.items() if key != "losses"} | {"learner": {"name": "twin"}}
    recipe = Recipe.model_validate(tables)
    assert recipe.tables()["learner"]["data"] == {"x": 1}
    assert Recipe.model_validate(recipe.tables()) == recipe


@pytest.mark.parametrize("name", ["", ".x", "a/b", "a b", "x" * 101, "ü", "x\n"])
def test_a_name_is_a_folders_name(name):
    with pytest.raises(ValidationError):
        load(name=name)


def test_recipe_error_lists_problems_and_is_one_line_for_a_whole_file():
    one, two = Problem("a.b", "is bad.", "Do it.", where="f:1"), Problem("", "is empty.")
    assert str(one) == "f:1: a.b: is bad. Do it."
    assert str(RecipeError("f", [two])) == "f: is empty."
    assert str(RecipeError("f", [Problem("", "is odd.", where="f:2")])) == "f:2: is odd."
    assert str(RecipeError("f", [one])) == "f: 1 problem\n  f:1: a.b: is bad. Do it."
    assert str(RecipeError("f", [one, two])) == "f: 2 problems\n  f:1: a.b: is bad. Do it.\n  is empty."
