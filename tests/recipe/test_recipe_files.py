"""Where recipes are found and how they are read."""

import tomllib

import pytest
from recipe_case import sentence, toy_folder, write
from toy_parts import RECIPE

from imcswav.recipe import sources as recipe_sources
from imcswav.recipe.files import load_recipe, recipe_names


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    return toy_folder(tmp_path, monkeypatch)


def test_loads_a_file_a_path_and_a_dict(folder):
    one = load_recipe("toy.toml")
    assert one.learner.losses[0].solver.epsilon == 0.1
    assert set(one.callbacks) == {"console", "metrics", "tensorboard", "checkpoint", "evaluate"}
    assert one == load_recipe(folder / "toy.toml") == load_recipe(tomllib.loads(RECIPE))


def test_a_dict_is_not_changed(folder):
    tables = tomllib.loads(RECIPE)
    load_recipe(tables, ["data.count=7", "losses.1.name=pull", "heads.out.width=3"])
    assert tables == tomllib.loads(RECIPE)


def test_windows_line_ends_and_byte_order_mark(folder):
    (folder / "dos.toml").write_bytes(b"\xef\xbb\xbf" + RECIPE.replace("\n", "\r\n").encode())
    assert load_recipe("dos.toml") == load_recipe("toy.toml")


def test_shipped_recipes_are_found_by_name(folder, monkeypatch, tmp_path_factory):
    shipped = tmp_path_factory.mktemp("shipped")
    write(shipped, base=RECIPE, small='extends = "base"\nclusters = 2\n[data]\ncount = 0')
    monkeypatch.setattr(recipe_sources, "shipped", lambda: shipped)
    assert recipe_names() == ["base", "small"]
    assert load_recipe("base").clusters == 3
    assert sentence("small").startswith("small.toml:4: data.count: must be at least 2, not 0.")
    (folder / "base.toml").write_text('extends = "base"\nseed = 5')
    assert load_recipe("base.toml").seed == 5
    assert sentence("bsae") == "there is no such recipe. Did you mean 'base'?"


def test_shipped_recipes_come_from_the_wheel_or_the_checkout(monkeypatch, tmp_path):
    package = tmp_path / "imcswav"
    monkeypatch.setattr(recipe_sources, "files", lambda name: tmp_path / name)
    write_to = [tmp_path / "recipes", package / "_recipes"]
    for number, place in enumerate(write_to):
        place.mkdir(parents=True)
        write(place, **{f"from{number}": RECIPE})
        assert recipe_names() == [f"from{number}"]
