"""Recipes on top of recipes."""

from pathlib import Path

import pytest
from recipe_case import problems, toy_folder, write
from toy_parts import RECIPE, TOYS

from imcswav.recipe.files import load_recipe


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    return toy_folder(tmp_path, monkeypatch)


def test_extends_merges_tables_and_replaces_arrays(folder):
    write(
        folder,
        child='extends = "toy.toml"\nname = "child"\n[data]\nlabel = "y"\n[[losses]]\nname = "pull"',
        grandchild='extends = "./child.toml"\n[optimizer]\nmomentum = 0.5\n[heads.more]\nname = "line"',
    )
    recipe = load_recipe("grandchild.toml")
    assert (recipe.name, recipe.clusters, recipe.data.count, recipe.data.label) == ("child", 3, 50, "y")
    assert [loss.temperature for loss in recipe.learner.losses] == [0.1]
    assert (recipe.optimizer.lr, recipe.optimizer.momentum) == (0.01, 0.5)
    assert set(recipe.learner.heads) == {"out", "more"}
    assert "extends" not in recipe.tables()


def test_another_name_drops_the_inherited_settings_of_that_part_alone(folder):
    write(folder, child='extends = "toy.toml"\nname = "child"\n[data]\nname = "folder"\nroot = "/x"')
    recipe = load_recipe("child.toml")
    assert recipe.data == TOYS.get("data", "folder").Config(root=Path("/x"))
    assert recipe.optimizer.lr == 0.01


def test_another_learner_drops_the_inherited_tables_of_the_learner(folder):
    write(folder, child='extends = "toy.toml"\n[learner]\nname = "other"\nrate = 0.25')
    assert load_recipe("child.toml").learner.rate == 0.25


def test_bare_names_and_tables_stand_for_one_another(folder):
    write(folder, base='schedule = "drop"\n' + RECIPE, child='extends = "base.toml"\n[schedule]\nat = 0.25')
    write(
        folder,
        same='extends = "child.toml"\nschedule = "drop"',
        less='extends = "child.toml"\nschedule="constant"',
    )
    assert load_recipe("child.toml").schedule.at == 0.25
    assert load_recipe("same.toml").schedule.at == 0.25
    assert load_recipe("less.toml").schedule.owner.name == "constant"


def test_a_callbacks_implied_name_counts_as_its_name(folder):
    write(folder, base=RECIPE + "[callbacks.console]\nenabled = false\n")
    write(folder, child='extends = "base.toml"\n[callbacks.console]\nname = "console"')
    write(folder, other='extends = "base.toml"\n[callbacks.console]\nname = "echo"')
    assert not load_recipe("child.toml").callbacks["console"].enabled
    assert load_recipe("other.toml").callbacks["console"].enabled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "loop.toml"', "'loop.toml' is this recipe itself; name another one"),
        ('extends = "back.toml"', "extends this recipe in turn"),
        ('extends = "tyo.toml"', "there is no recipe 'tyo.toml'. Did you mean 'toy.toml'?"),
        ("extends = 3", "must be another recipe's path or a shipped recipe's name, not 3."),
        ('extends = ""', "not ''."),
        ('extends = "a\\u0000b.toml"', "there is no recipe"),
    ],
)
def test_extends_that_leads_nowhere(folder, text, message):
    write(folder, back='\nextends = "loop.toml"', loop=text)
    one = problems("loop.toml")["extends"]
    assert message in str(one)
    assert one.where == ("back.toml:2" if "back" in text else "loop.toml:1")


def test_problems_name_the_file_that_wrote_the_line(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "child.toml").write_text('extends = "../toy.toml"\nclusters = 1\n[heads.out]\nwdth = 3')
    (folder / "toy.toml").write_text(RECIPE.replace("lr = 0.01", "lr = -1"))
    found = problems("sub/child.toml")
    assert {path: one.where for path, one in found.items()} == {
        "clusters": "sub/child.toml:2",
        "heads.out.wdth": "sub/child.toml:4",
        "optimizer.lr": "toy.toml:22",
    }
