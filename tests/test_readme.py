"""What the README says of runs and results, and what recipes say of themselves; its snippets are run by tests/docs."""

import re
import tomllib
from pathlib import Path

import pytest

from imcswav.component import KINDS
from imcswav.plugins import registry
from imcswav.recipe.files import recipe_names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def unknown(text):
    """Recipes, kinds and components that a text names and that aren't there."""
    named = re.findall(r"imcswav (?:run|check|bench|reproduce) ([a-z_0-9]+)(?![\w./-])", text)
    wrong = [name for name in named if name not in recipe_names()]
    shown = re.findall(r"imcswav show ([a-z]+) ([a-z_0-9]+)", text)
    wrong += [f"{kind} {name}" for kind, name in shown if name not in registry().names(kind)]
    return wrong + [kind for kind in re.findall(r"imcswav list ([a-z]+)", text) if kind not in (*KINDS, "recipe")]


def test_the_readme_names_recipes_and_components_that_exist():
    assert unknown(README) == []


@pytest.mark.parametrize(
    "text", ["`imcswav run imc_swav_cifar11`", "imcswav show solver sinkhron\n", "imcswav list los # x"]
)
def test_names_that_do_not_exist_are_caught(text):
    assert len(unknown(text)) == 1


def test_a_run_leaves_what_the_readme_lists(tiny, tmp_path):
    import imcswav

    (listed,) = re.findall(r"A run leaves behind(.*?)\n\n", README, re.DOTALL)
    names = set(re.findall(r"`([\w./]+)`", listed)) - {"data.placement"}
    assert "summary.json" in names
    tiny["callbacks"] = {}
    imcswav.run(
        tiny, {"trainer.max_steps": 2, "evaluation.plots": True}, out=tmp_path / "run", warn=lambda problem: None
    )
    assert {name for name in names if not (tmp_path / "run" / name).exists()} == set()


def head(text):
    """The comment a recipe opens with, without the line for editors."""
    lines = text.split("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if not line.startswith("#:"))


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_open_with_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    tomllib.loads(text)
    assert head(text).startswith("# ")
    assert "Measured" in head(text)
