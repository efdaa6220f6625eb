"""Bad input, a case each: what is prepared, the command, and what it must answer. The page of errors shows the same.

A case begins in a folder of its own with ``photos`` (24 images), ``my.toml`` (a recipe for them) and ``run`` (a
finished run of it), changes something, and gives the words of a command.
"""

import contextlib
import io
import os
import platform
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from imcswav import cli, plugins

AREAS = ("recipe", "data", "images", "plugin", "checkpoint", "hardware", "file system", "commands")
RECIPE = """\
name = "mine"
clusters = 3

[data]
name = "image_folder"
root = "photos"
size = 8

[views]
name = "multicrop"
crops = [{ count = 2, size = 8, scale = [0.5, 1.0] }]

[backbone]
name = "small_resnet"
stem = 4
widths = [8]
strides = [2]

[heads.prototypes]
name = "prototypes"
count = 12

[heads.classifier]
name = "mlp"
width = "clusters"
detach = true

[[losses]]
name = "swav"

[[losses]]
name = "imc"

[optimizer]
name = "adam"
lr = 1e-3

[trainer]
epochs = 2
batch_size = 8
device = "cpu"
threads = 1

[evaluation]
plots = false

[callbacks.clustering]
enabled = true

[callbacks.tensorboard]
enabled = false
"""
PROGRESS = re.compile(r"(?m)^(epoch \d|Looked through|Looking at|Comparing|Trained from scratch|Warning:).*\n")
PLUGIN = '''\
from imcswav.losses import Loss
from imcswav.plugins import hookimpl


class Mine(Loss, name="mine"):
    """A loss."""

    def forward(self, step):
        """A number."""
        return step["classifier"].sum()


@hookimpl
def imcswav_components():
    return [Mine]
'''


@dataclass(frozen=True)
class Case:
    """``prepare`` changes the folder and returns the command; ``code`` is its exit code, ``says`` a part of its answer.

    ``vague`` is a pattern of what others word, such as an error of the system: the page has … in its place.
    ``leaves`` names what the command may make, by a pattern of paths.
    """

    area: str
    what: str
    prepare: Callable[["World"], str]
    says: str
    code: int
    vague: str
    leaves: str

    @property
    def id(self) -> str:
        """For pytest."""
        return re.sub(r"\W+", "-", f"{self.area} {self.what}")


CASES: list[Case] = []


def case(area, what, says, *, code=2, vague="", leaves=""):
    """Add a case to the table: ``what`` is wrong, and a part of what has to be said."""
    assert area in AREAS

    def add(prepare):
        CASES.append(Case(area, what, prepare, says, code, vague, leaves))
        return prepare

    return add


@dataclass
class World:
    """The folder of a case, which is the working directory."""

    path: Path
    patch: pytest.MonkeyPatch
    others: list[str] = field(default_factory=list)
    """Modules of plugins."""

    def edit(self, old, new, file="my.toml"):
        """Replace a text of a file."""
        text = (self.path / file).read_text(encoding="utf-8")
        assert old in text
        (self.path / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    def write(self, name, content):
        """A file of a text or of bytes."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def plugin(self, name, source):
        """An installed package ``pkg-NAME`` with one entry point."""
        module = f"plugin_{name}"
        self.write(f"site/{module}.py", source)
        self.write(
            f"site/pkg_{name}-1.2.dist-info/METADATA", f"Metadata-Version: 2.1\nName: pkg-{name}\nVersion: 1.2\n"
        )
        self.write(f"site/pkg_{name}-1.2.dist-info/entry_points.txt", f"[imcswav]\nep-{name} = {module}\n")
        self.others.append(module)
        self.patch.syspath_prepend(self.path / "site")

    def unfinished(self):
        """Make the run one that was cut off after its last checkpoint."""
        (self.path / "run" / "summary.json").unlink()

    def checkpoints(self):
        """The checkpoints of the run, oldest first."""
        return sorted((self.path / "run" / "checkpoints").iterdir())


@dataclass(frozen=True)
class Outcome:
    """What a command answered, with ``FOLDER`` for the path of the folder, and what it did to the files."""

    command: str
    code: int
    said: str
    changed: list[str]
    made: list[str]


@contextlib.contextmanager
def made_base(folder):
    """The folder that every case begins with a copy of; no plugin of this machine is known meanwhile."""
    (folder / "photos").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(24):
        pixels = random.integers(0, 80, (8, 8, 3))
        pixels[:, :, number % 3] += 150
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / f"{number:02}.png")
    (folder / "my.toml").write_text(RECIPE)
    plugins.registry.cache_clear()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plugins, "entry_points", lambda group: [])
            patch.setattr(cli, "app", commands())
            code, said = _answer(folder, "run my.toml --out run")
            assert code == 0, said
            yield folder
    finally:
        plugins.registry.cache_clear()


@cache
def commands():
    """The command line, put together once."""
    return typer.main.get_command(cli.app)


def outcome(one, base, folder):
    """Prepare a copy of ``base`` and run the command of the case in it."""
    shutil.copytree(base, folder)
    recipe = folder / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(str(base), str(folder)))
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(sys, "argv", ["imcswav"])
        patch.setenv("COLUMNS", "200")
        patch.setenv("IMCSWAV_CACHE", str(folder.parent / "cache"))
        patch.delenv("IMCSWAV_PLUGINS", raising=False)
        world = World(folder, patch)
        command = one.prepare(world)
        found = [entry for entry in entry_points(group="imcswav") if entry.module in world.others]
        patch.setattr(plugins, "entry_points", lambda group: found)
        before = _files(folder)
        if world.others or "IMCSWAV_PLUGINS" in os.environ:
            plugins.registry.cache_clear()
        try:
            code, said = _answer(folder, command)
        finally:
            if world.others or "IMCSWAV_PLUGINS" in os.environ:
                plugins.registry.cache_clear()
            for module in world.others:
                sys.modules.pop(module, None)
        patch.undo()  # what was injected must not hide files
        after = _files(folder)
    changed = [name for name in before if before[name] != after.get(name)]
    made = [name for name in after if name not in before and not re.search(one.leaves or "$^", name)]
    return Outcome(f"imcswav {command}", code, _neutral(said, folder, one.vague), changed, made)


def _answer(folder, command):
    """Exit code and standard error of a command."""
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main(shlex.split(command))
        except SystemExit as left:
            return left.code, said.getvalue()
    raise AssertionError("main came back")


def _files(folder):
    """Name and bytes of everything that lies in a folder, links as where they lead."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file() and "__pycache__" not in path.parts:
            found[name] = path.read_bytes()
        elif path.is_dir() and path.name != "__pycache__":
            found[name] = None
    return found


def _neutral(said, folder, vague):
    """The same on every machine, without the lines on how a command is used, on progress, and warnings."""
    said = re.sub(PROGRESS, "", said.rpartition("\n\nError: ")[2])
    said = said.replace(f"process {os.getpid()} on {platform.node()}", "process PID on HOST")
    said = said.replace(f"{folder}/", "").replace(str(folder), "FOLDER")
    return textwrap.dedent(re.sub(vague, "…", said) if vague else said).strip()
