"""What tests of recipe files share: a folder with the toy recipe, and problems of what can't be loaded."""

import pytest
from toy_parts import RECIPE, TOYS

from imcswav import plugins
from imcswav.errors import RecipeError
from imcswav.recipe.files import load_recipe


def toy_folder(folder, monkeypatch):
    """Make it the current folder, with toy.toml; components are the toys."""
    monkeypatch.setattr(plugins, "registry", lambda: TOYS)
    monkeypatch.chdir(folder)
    (folder / "toy.toml").write_text(RECIPE)
    return folder


def write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)


def problems(source, overrides=()):
    with pytest.raises(RecipeError) as caught:
        load_recipe(source, overrides)
    assert str(caught.value)
    return {one.path: one for one in caught.value.problems}


def sentence(source, overrides=()):
    (one,) = problems(source, overrides).values()
    return str(one)
