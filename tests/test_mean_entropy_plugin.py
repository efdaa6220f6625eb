"""The package in plugins/, its guide, and the page that shows its file: all the same."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from test_scaffold import install

from imcswav.check import check_recipe
from imcswav.plugins import registry
from imcswav.recipe.files import load_recipe
from imcswav.scaffold import write_package

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "plugins" / "imcswav-mean-entropy"
GUIDE = (ROOT / "docs" / "guides" / "write_a_loss.md").read_text(encoding="utf-8")


def text(name):
    return (PACKAGE / name).read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as if pip had installed it."""
    install(PACKAGE, tmp_path / "site")
    for folder in (PACKAGE, tmp_path / "site"):
        monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("IMCSWAV_PLUGINS", "imcswav-mean-entropy")
    registry.cache_clear()
    yield
    registry.cache_clear()
    sys.modules.pop("imcswav_mean_entropy", None)


def test_the_guide_shows_the_files_as_they_are():
    loss, test = blocks(GUIDE, "python")
    assert loss == text("imcswav_mean_entropy.py")
    assert test == text("tests/test_mean_entropy.py")
    entry, recipe = blocks(GUIDE, "toml")
    assert recipe == text("recipes/digits_mean_entropy.toml")
    assert entry in text("pyproject.toml")


def test_the_architecture_page_shows_the_file_as_it_is():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert text("imcswav_mean_entropy.py") in blocks(page, "python")


def test_the_guide_shows_what_new_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = write_package("loss", "mean_entropy").told()
    assert f"$ imcswav new loss mean_entropy\n{said}\n" in blocks(GUIDE, "text")
    written = tomllib.loads((tmp_path / "imcswav-mean-entropy" / "pyproject.toml").read_text())
    own = tomllib.loads(text("pyproject.toml"))
    for part in (written, own):
        part["project"].pop("description")
    assert own == written


def test_imcswav_knows_it_and_its_recipe_has_no_problems(installed):
    assert registry().origins["loss", "mean_entropy"] == "imcswav-mean-entropy 0.1.0"
    recipe = load_recipe(PACKAGE / "recipes" / "digits_mean_entropy.toml")
    assert [loss.owner.name for loss in recipe.learner.losses] == ["swav", "imc", "mean_entropy"]
    assert check_recipe(recipe) == []


def test_it_is_not_known_where_it_is_not_wanted(installed, monkeypatch):
    monkeypatch.setenv("IMCSWAV_PLUGINS", "")
    registry.cache_clear()
    assert ("loss", "mean_entropy") not in registry().classes
    assert [(plugin.package, plugin.state) for plugin in registry().plugins if plugin.name == "mean_entropy"] == [
        ("imcswav-mean-entropy", "disabled")
    ]
