"""`imcswav check` on ten broken recipes: every planted problem by name and line, and nothing else."""

import sys

import pytest
from broken_recipes import GOOD, PLANTED, RECIPES, broken
from cli_calls import call
from PIL import Image

from imcswav.errors import RecipeError
from imcswav.preflight import preflight


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with forty images in two folders, forty files that are none, and an empty folder."""
    for number in range(40):
        path = tmp_path / "images" / ("cat" if number % 2 else "dog") / f"{number // 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((14, 13), 80).convert("RGB").save(path)
    (tmp_path / "garbage").mkdir()
    for number in range(40):
        (tmp_path / "garbage" / f"{number}.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", None)
    return tmp_path


def told(name):
    """The printed problems."""
    return [(problem.where, problem.path, str(problem)) for problem in preflight("recipe.toml", steps=False).errors]


def test_there_are_ten():
    assert len(RECIPES) == 10
    assert RECIPES.keys() == PLANTED.keys()
    assert all(1 <= len(problems) <= 4 for problems in PLANTED.values())


@pytest.mark.parametrize("name", RECIPES)
def test_every_planted_problem_is_named_with_its_line_and_nothing_else(name, place):
    text, problems = broken(name)
    (place / "recipe.toml").write_text(text)
    found = told(name)
    for where, path, said in problems:
        matching = [one for one in found if one[:2] == (where, path)]
        assert len(matching) == 1, (where, path, found)
        assert said in matching[0][2]
        found.remove(matching[0])
    assert found == []


@pytest.mark.parametrize(
    ("good", "wrong", "path"),
    [
        ("clusters = 2", 'clusters = "two"', "clusters"),
        ("clusters = 2", "clusters = 1", "clusters"),
        ("batch_size = 8", "batch_size = 0", "trainer.batch_size"),
    ],
)
def test_a_number_that_is_none_hides_no_other_mistake(good, wrong, path, place):
    assert good in GOOD
    text = GOOD.replace(good, wrong, 1).replace('name = "swav"', 'name = "swav"\nscores = "protos"', 1)
    (place / "recipe.toml").write_text(text)
    assert sorted(path for _, path, _ in told("recipe.toml")) == sorted([path, "losses.0.scores"])


def test_the_good_one_has_no_problem(place, capsys):
    (place / "recipe.toml").write_text(GOOD)
    before = sorted(place.rglob("*"))
    code, out, err = call(capsys, "check", "recipe.toml")
    assert (code, err) == (0, "")
    for text in ("recipe.toml: no errors", "steps an epoch", "training on cpu", "3 steps timed"):
        assert text in " ".join(out.split())
    assert sorted(place.rglob("*")) == before


def test_the_command_prints_all_and_exits_2(place, capsys):
    text, problems = broken("schema, data, heads and device at once")
    (place / "recipe.toml").write_text(text)
    code, out, err = call(capsys, "check", "recipe.toml")
    assert (code, out) == (2, "")
    assert "4 problems" in err
    assert "Traceback" not in err
    for where, path, _ in problems:
        assert f"{where}: {path}: " in err


def test_run_tells_the_same_problems_and_makes_no_folder(place, capsys):
    text, _ = broken("schema, data, heads and device at once")
    (place / "recipe.toml").write_text(text)
    before = sorted(place.rglob("*"))
    _, _, checked = call(capsys, "check", "recipe.toml")
    code, _, err = call(capsys, "run", "recipe.toml")
    assert (code, err) == (2, checked)
    assert sorted(place.rglob("*")) == before


def test_no_settings_are_one_sentence(place):
    (place / "recipe.toml").write_text("name = ")
    with pytest.raises(RecipeError, match="is not valid TOML"):
        preflight("recipe.toml")
