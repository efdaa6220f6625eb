"""Where recipes are found and how they are read."""

import tomllib

import pytest
from recipe_case import sentence, toy_folder, write
from toy_parts import RECIPE

from imcswav.errors import RecipeError
from imcswav.recipe import sources as recipe_sources
from imcswav.recipe.files import load_recipe, recipe_names
from imcswav.recipe.ladders import find_ladder, ladder_names


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    return toy_folder(tmp_path, monkeypatch)


def test_loads_a_file_a_path_and_a_dict(folder):
    one = load_recipe("toy.toml")
    assert one.learner.losses[0].solver.epsilon == 0.1
    assert set(one.callbacks) == {"console", "metrics", "tensorboard", "checkpoint", "evaluate", "health"}
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


def test_shipped_recipes_in_folders_are_found_by_name_and_as_ladders(folder, monkeypatch, tmp_path_factory):
    shipped = tmp_path_factory.mktemp("shipped")
    (steps := shipped / "plus" / "toy").mkdir(parents=True)
    write(shipped, base=RECIPE)
    write(
        steps, a='extends = "base"\nclusters = 4', b='extends = "a.toml"\nseed = 5', c='extends = "b.toml"\n\nsead = 3'
    )
    monkeypatch.setattr(recipe_sources, "shipped", lambda: shipped)
    assert recipe_names() == ["base", "plus/toy/a", "plus/toy/b", "plus/toy/c"]
    assert ladder_names() == ["plus/toy"]
    for name in ("plus/toy/b", "plus/toy/b.toml", steps / "b.toml"):
        assert (load_recipe(name).clusters, load_recipe(name).seed) == (4, 5)
    assert sentence("plus/toy/c").startswith("plus/toy/c.toml:3: ")
    write(folder, mine='extends = "plus/toy/b"\nclusters = 6')
    assert (load_recipe("mine.toml").clusters, load_recipe("mine.toml").seed) == (6, 5)
    assert sentence("plus/toy/aa") == "there is no such file. Did you mean 'plus/toy/a'?"
    assert sentence("plus/toy") == "there is no such file. It is a ladder of recipes: imcswav ladder plus/toy"
    found = find_ladder("plus/toy")
    assert (found.name, found.rungs) == ("plus/toy", {name: steps / f"{name}.toml" for name in "abc"})
    (folder / "plus" / "toy").mkdir(parents=True)
    write(folder / "plus" / "toy", mine=RECIPE)
    assert list(find_ladder("plus/toy").rungs) == ["mine"]  # a folder that is there goes first, as with recipes


def test_a_ladder_is_the_recipes_of_a_folder_in_the_order_of_their_names(folder):
    (folder / "steps" / "within").mkdir(parents=True)
    write(folder / "steps", b_two=RECIPE, a_one=RECIPE, c_three=RECIPE)
    write(folder / "steps" / "within", d=RECIPE)
    for name in (".a_hidden.toml", "notes.txt"):
        (folder / "steps" / name).touch()
    for source in ("steps", "steps/", folder / "steps"):
        assert find_ladder(source).name == "steps"
        assert list(find_ladder(source).rungs) == ["a_one", "b_two", "c_three"]


def test_what_is_no_ladder(folder):
    (folder / "empty").mkdir()
    for source, said in (
        ("nowhere", "nowhere: there is no such folder of recipes."),
        ("toy.toml", "toy.toml: is a file; a ladder is a folder of recipes."),
        ("empty", "empty: holds no recipes"),
    ):
        with pytest.raises(RecipeError) as caught:
            find_ladder(source)
        assert str(caught.value).startswith(said)


def test_shipped_recipes_come_from_the_wheel_or_the_checkout(monkeypatch, tmp_path):
    package = tmp_path / "imcswav"
    monkeypatch.setattr(recipe_sources, "files", lambda name: tmp_path / name)
    write_to = [tmp_path / "recipes", package / "_recipes"]
    for number, place in enumerate(write_to):
        place.mkdir(parents=True)
        write(place, **{f"from{number}": RECIPE})
        assert recipe_names() == [f"from{number}"]
