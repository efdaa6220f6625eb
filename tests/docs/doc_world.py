"""What the reader of a page has: photos, a finished run, plugins; and trainings that are short."""

import contextlib
import importlib.util
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
from doc_blocks import ROOT
from PIL import Image

import imcswav
from imcswav.data.image_folder import ImageFolder
from imcswav.plugins import registry
from imcswav.recipe.files import load_recipe

NO_DATA = {"array", "image_folder", "numpy"}


@dataclass
class World:
    """What a reader has: photos, a finished run, a recipe."""

    folder: Path
    words: dict[str, str] = field(default_factory=dict)
    done: set[tuple[str, ...]] = field(default_factory=set)
    home: Path = ROOT
    """Where the page's commands are given: the repository, or the plugin that the page is about."""

    def prepare(self, recipe):
        """Make them; ``recipe`` is a tiny one."""
        rng = np.random.default_rng(0)
        # as many as the largest batch of a shipped recipe
        counts = {"photos": 256, "data/train/cat": 128, "data/train/dog": 128, "data/test/cat": 8, "data/test/dog": 8}
        for place, count in counts.items():
            (self.folder / place).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(self.folder / place / f"{number}.png")
        digits = load_recipe("digits").data.build().train
        for number in range(120):
            (place := self.folder / "digits" / str(int(digits.labels[number]))).mkdir(parents=True, exist_ok=True)
            Image.fromarray(digits.images[number, 0].numpy()).save(place / f"{number}.png")
        colours = rng.integers(0, 256, (264, 16, 16, 3), dtype=np.uint8)
        np.savez(self.folder / "arrays.npz", x_train=colours[:256], x_test=colours[256:])
        run = self.folder / "finished"
        with cut_short(self):
            imcswav.run(recipe, out=run, warn=lambda problem: None)
            imcswav.run("digits", out=self.folder / "digits_run", warn=lambda problem: None)
        self.words = {
            "PHOTOS": str(self.folder / "photos"), "NEW_IMAGES": str(self.folder / "photos"),
            "IMAGES": str(self.folder / "photos"), "DIR": str(self.folder / "data"), "RUN": str(run), "S": "0",
            "RECIPE": "digits", "FILE": "file.txt", "F": "file.json", "KIND": "loss", "NAME": "my_part",
            "FIRST": str(self.folder / "digits_run"), "ARRAYS": str(self.folder / "arrays.npz"),
        }  # fmt: skip

    def word(self, word):
        """A word of a command with what it stands for."""
        option, equals, value = word.rpartition("=")
        if "…" in value:  # runs/my-run/…
            return self.words["RUN"]
        return option + equals + self.words.get(value, value)


def small(recipe, world):
    """The same recipe for two steps, with images that are there."""
    quick = {"epochs": 1, "max_steps": 2, "batch_size": 16, "threads": 1, "device": "cpu", "log_every": 1}
    changes = {"trainer": recipe.trainer.model_copy(update=quick)}
    changes["predict"] = recipe.predict.model_copy(update={"views": 1})
    changes["callbacks"] = {key: entry for key, entry in recipe.callbacks.items() if key != "tensorboard"}
    if recipe.data.owner.name == "digits":  # fewer, for the baselines take their time
        changes["data"] = ImageFolder.Config(root=str(world.folder / "digits"), size=recipe.data.size, channels=1)
    elif recipe.data.owner.name not in NO_DATA:
        size = recipe.data.facts().size
        changes["data"] = ImageFolder.Config(root=world.words["DIR"], size=size)
    return recipe.model_copy(update=changes)


@contextlib.contextmanager
def cut_short(world):
    """Trainings take two steps, however they are asked for, and their plots are empty; a check times no steps."""
    with (
        mock.patch("imcswav.api.load_recipe", lambda *given: small(load_recipe(*given), world)),
        mock.patch("imcswav.preflight.try_steps", return_value=(None, [])),
        mock.patch("matplotlib.figure.Figure.savefig", lambda figure, path, **settings: Path(path).write_bytes(b"")),
    ):
        yield


@contextlib.contextmanager
def components_of_the_page():
    """What a page adds to the registry and to the modules leaves with the page."""
    known, modules = registry(), set(sys.modules)
    before = known.classes.copy(), known.origins.copy()
    try:
        yield
    finally:
        known.classes, known.origins = before
        for name in [name for name in sys.modules if name not in modules and name.startswith(("page_", "imcswav_"))]:
            del sys.modules[name]


def install(path):
    """A plugin's components, as if its package were installed, unless they are known already."""
    project = tomllib.loads((path / "pyproject.toml").read_text())["project"]
    for name in project.get("entry-points", {}).get("imcswav", {}).values():
        if name in sys.modules:
            continue
        folder = path / name  # a package, or a file
        file = folder / "__init__.py" if folder.is_dir() else path / f"{name}.py"
        places = [str(folder)] if folder.is_dir() else None
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for cls in module.imcswav_components():
            if (cls.kind, cls.name) not in registry().classes:
                registry().add(cls, project["name"])
