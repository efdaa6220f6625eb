"""What README and docs show is so."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from imcswav.check import check_recipe
from imcswav.component import KINDS
from imcswav.plugins import registry
from imcswav.recipe_files import load_recipe, recipe_names

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_readmes_recipe_has_no_problems(tmp_path):
    (recipe,) = blocks(README, "toml")
    (tmp_path / "my.toml").write_text(recipe)
    assert check_recipe(load_recipe(tmp_path / "my.toml")) == []


def test_the_readmes_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(README, "python")
    images = load_recipe("digits").data.build().train.images[:30]
    names = {"images": images.numpy()}
    exec(code.replace('"trainer.epochs": 20', '"trainer.max_steps": 3'), names)
    assert names["labels"].shape == (30,)
    assert names["features"].shape == (30, 64)


def test_the_readme_names_recipes_and_components_that_exist():
    for name in re.findall(r"imcswav run ([a-z_0-9]+)(?= |$|`)", README):
        assert name in recipe_names()
    for kind, name in re.findall(r"imcswav show ([a-z]+) ([a-z_]+)", README):
        assert name in registry().names(kind)
    for kind in re.findall(r"imcswav list ([a-z]+)", README):
        assert kind in KINDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_loss_shown_in_the_docs_passes_the_contract(tmp_path, monkeypatch):
    from imcswav.testing import check_component

    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (code,) = (block for block in blocks(text, "python") if "class MeanEntropy" in block)
    (tmp_path / "shown_mean_entropy.py").write_text(code)  # a file: settings are described by their source
    monkeypatch.syspath_prepend(tmp_path)
    (loss,) = importlib.import_module("shown_mean_entropy").imcswav_components()
    check_component(loss)


def test_recipes_open_with_what_they_are():
    for path in sorted((ROOT / "recipes").glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        tomllib.loads(text)
        head = text.split("\n\n")[0]
        assert head.startswith("# "), path
        assert "Measured" in head, path
