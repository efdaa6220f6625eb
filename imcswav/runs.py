"""Run folders: ``runs/<recipe name>/<time>-<short id>/``, or a folder the user names. Never overwritten."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imcswav.errors import RunError
from imcswav.files import write_atomically
from imcswav.recipe import Recipe
from imcswav.recipe.files import dump_recipe, load_recipe

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pydantic", "pluggy", "pillow")
SOURCE = Path(__file__).parent


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @classmethod
    def create(cls, recipe: Recipe, out: str | Path | None = None) -> RunFolder:
        """Make the folder and write ``recipe.toml`` and ``environment.json``.

        Raises RunError when ``out`` exists and isn't empty, or can't be written.
        """
        path = Path(out) if out is not None else new_folder(recipe.name)
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise RunError(f"{path} exists and is not an empty folder; nothing is overwritten: give another --out.")
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path)
            run.write_text("recipe.toml", dump_recipe(recipe))
            run.write_json("environment.json", environment(recipe.seed))
        except OSError as error:
            raise RunError(
                f"The run folder {path} can't be written: {error.strerror or error}; give another --out."
            ) from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run; raises RunError when there is no ``recipe.toml``."""
        folder = Path(path)
        if not (folder / "recipe.toml").is_file():
            raise RunError(
                f"{folder} is no run folder: it holds no recipe.toml; give a folder that `imcswav run` made."
            )
        return cls(folder)

    @classmethod
    def latest_unfinished(cls, recipe: Recipe) -> RunFolder:
        """The newest run of this recipe under runs/ that has a checkpoint and no summary.

        Recipes are the same when they differ at most in where and how loudly they run.
        """
        folders = sorted((Path("runs") / recipe.name).glob("*/recipe.toml"), reverse=True)
        for file in folders:
            run = cls(file.parent)
            if (
                not run.finished
                and any(run.checkpoints.glob("step-*.pt"))
                and same_but_for_place(run.recipe(), recipe.resolved())
            ):
                return run
        raise RunError(
            f"There is no unfinished run of this recipe with a checkpoint under {Path('runs') / recipe.name}; "
            f"leave --resume out to start one, or name the folder: imcswav resume RUN."
        )

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Folder of the exported model."""
        return self.path / "model"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / "summary.json").is_file()

    def recipe(self) -> Recipe:
        """The resolved recipe of the run."""
        return load_recipe(self.path / "recipe.toml")

    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds; raises RunError for an unfinished run."""
        try:
            loaded: dict[str, Any] = json.loads((self.path / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            message = f"{self.path} has no readable summary.json ({error}); is the run finished?"
            raise RunError(message) from error
        return loaded

    def write_text(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        write_atomically(self.path / name, lambda path: path.write_text(text, encoding="utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON atomically."""
        self.write_text(name, json.dumps(value, indent=2) + "\n")


def new_folder(name: str) -> Path:
    """``runs/<name>/<time>-<short id>``, not made yet."""
    return Path("runs") / name / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def figures(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """The scores of a summary, by name: the recipe's metrics, then reference figures; None where there are no labels.

    Raises RunError for a summary that no run wrote.
    """
    names = list(summary)
    if not {"recipe", "clusters"} <= set(names):
        raise RunError("A summary.json holds no figures of a run; was it changed by hand?")
    return {name: summary[name] for name in names[names.index("recipe") + 1 : names.index("clusters")]}


def same_but_for_place(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes ask for the same result, however loudly and on whatever device."""
    return _essence(one) == _essence(other)


def _essence(recipe: Recipe) -> Recipe:
    same = recipe.trainer.model_copy(update={"device": "auto", "threads": None, "log_every": 1})
    return recipe.model_copy(update={"trainer": same, "expected": None})


def environment(seed: int) -> dict[str, Any]:
    """Versions, git commit of the source, hardware and seed: what a figure needs to be believed."""
    import torch

    from imcswav import __version__

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "imcswav": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda,
        **_source(),
        "command": sys.argv,
        "seed": seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # there, but under another name: a vendor's build
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _source() -> dict[str, Any]:
    """The commit of the package's own repository, and whether its files differ from it; null where there is none.

    An installed package may lie inside somebody else's repository: only one that tracks its files counts.
    """
    commit = _git("rev-parse", "HEAD") if _git("ls-files", "--error-unmatch", "__init__.py") else None
    changes = _git("status", "--porcelain", "--", ".") if commit else None
    return {"git_commit": commit or None, "git_dirty": None if changes is None else bool(changes)}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, cwd=SOURCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
