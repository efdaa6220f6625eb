"""The recipes have no problems; that of CIFAR-10 takes any folder whose subfolders are classes."""

from pathlib import Path

import numpy as np
from imcswav_depict.__main__ import main
from PIL import Image

from imcswav.check import check_recipe
from imcswav.recipe.files import load_recipe

RECIPES = Path(__file__).parent.parent / "recipes"
SHORT = [
    "data.limit=50", "clusters=2", "learner.pretrain_epochs=1", "trainer.epochs=3", "trainer.batch_size=25",
    "callbacks.tensorboard.enabled=false", "seed=0",
]  # fmt: skip


def classes(root, names):
    """Sixty colour images, bright and dark ones by turns, each in the folder of its class."""
    random = np.random.default_rng(0)
    for number in range(60):
        pixels = random.integers(0, 120, (36, 32, 3)) + 120 * (number % 2)
        folder = root / names[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02}.png")
    return f"data.root={root}"


def test_digits_has_no_problems():
    assert check_recipe(load_recipe(RECIPES / "digits_depict.toml")) == []


def test_cifar10_lacks_nothing_but_the_folder(tmp_path):
    found = check_recipe(load_recipe(RECIPES / "cifar10_depict.toml", [f"data.root={tmp_path / 'nowhere'}"]))
    assert [problem.path for problem in found] == ["data.root"]
    recipe = load_recipe(RECIPES / "cifar10_depict.toml", [classes(tmp_path / "images", ("cat", "dog")), *SHORT])
    assert check_recipe(recipe) == []
    data = recipe.data.build()
    assert data.train.images.shape == (50, 1, data.size, data.size)
    assert data.test is None


def test_the_command_compares_on_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(str(RECIPES / "cifar10_depict.toml"), "0", [classes(tmp_path / "images", ("cat", "dog")), *SHORT])
    assert "| 0 |" in capsys.readouterr().out
