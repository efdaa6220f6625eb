"""`imcswav new`: a small installable package with one component, its test and a recipe that uses it."""

from __future__ import annotations

import keyword
import re
import shlex
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from imcswav import __version__
from imcswav.component import KINDS
from imcswav.errors import ImcswavError
from imcswav.plugins import did_you_mean, registry
from imcswav.runs import FACTS, REFERENCE

TEMPLATES = files("imcswav.templates")
LONGEST = 40
"""Characters of a name at most."""


@dataclass(frozen=True)
class Written:
    """A package that was written: its folder and its files, with what each is."""

    folder: Path
    kind: str
    files: dict[str, str]

    def told(self) -> str:
        """What is where, and the next two commands."""
        width = max(map(len, self.files))
        lines = [f"  {name:{width}}  {what}" for name, what in self.files.items()]
        place = shlex.quote(str(self.folder))
        return "\n".join([f"{self.folder}:", *lines, "Next:", f"  pip install -e {place}", f"  pytest {place}"])


def write_package(kind: str, name: str, out: Path | None = None) -> Written:
    """Write the package of a new component into ``out``, by default ``imcswav-NAME`` here.

    Raises ImcswavError for an unknown kind, a name that can't be or is taken, and a folder that holds something.
    """
    if kind not in KINDS:
        raise ImcswavError(f"There is no kind '{kind}'. {did_you_mean(kind, [*KINDS])}")
    _check_name(kind, name)
    folder = out if out is not None else Path(f"imcswav-{name.replace('_', '-')}")
    _check_folder(folder)
    texts = _texts(kind, name)
    for file, (text, _) in texts.items():
        path = folder / file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise ImcswavError(f"{path} can't be written ({error.strerror or error}); choose another --out.") from error
    return Written(folder, kind, {file: what for file, (_, what) in texts.items()})


def _check_name(kind: str, name: str) -> None:
    if keyword.iskeyword(name):
        raise ImcswavError(f"'{name}' can't be a component's name: it is a word of Python itself; choose another.")
    if not re.fullmatch(r"[a-z]([a-z0-9_]*[a-z0-9])?", name) or len(name) > LONGEST:
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()) if name.isascii() else ""
        meant = plain.strip("_0123456789")[:LONGEST].rstrip("_")
        better = f", such as '{meant}'" if meant and not keyword.iskeyword(meant) else ""
        raise ImcswavError(
            f"'{name}' can't be a component's name: take lower-case letters, digits and underscores, at most "
            f"{LONGEST}, a letter first and no underscore last{better}."
        )
    if kind == "metric" and name in (*FACTS, *REFERENCE):
        raise ImcswavError(
            f"A metric can't be called '{name}': every summary has another figure so; choose another name."
        )
    origin = registry().origins.get((kind, name))
    if origin is not None:
        raise ImcswavError(f"There is a {kind} '{name}' already, from {origin}; choose another name.")
    if find_spec(f"imcswav_{name}") is not None:
        raise ImcswavError(f"A module imcswav_{name} is installed already; choose another name.")


def _check_folder(folder: Path) -> None:
    try:
        taken = any(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ImcswavError(
            f"{folder} can't be written to ({error.strerror or error}); choose another --out."
        ) from error
    if taken:
        raise ImcswavError(f"{folder} is not empty, and nothing is overwritten; choose another --out.")


def _texts(kind: str, name: str) -> dict[str, tuple[str, str]]:
    """File → its text, and what it is."""
    component, test = _template(f"{kind}.py"), _template(f"{kind}_test.py")
    title = "".join(word.capitalize() for word in name.split("_"))
    if keyword.iskeyword(title) or re.search(rf"\b{title}\b", component + test):  # None, or a name that they import
        title += kind.capitalize()

    def own(text: str) -> str:
        text = re.sub(r"(?<![A-Za-z])mine(?![A-Za-z])", name, text)
        return re.sub(r"\bMine\b", title, text)

    def filled(file: str) -> str:
        known = {"kind": kind, "name": name, "dashed": name.replace("_", "-"), "version": __version__}
        return _template(file).format_map(known)

    return {
        f"imcswav_{name}.py": (own(component), f"the {kind}, yours to change"),
        f"tests/test_{name}.py": (own(test), "its test"),
        f"recipes/{name}.toml": (own(_template(f"{kind}.toml")), "a recipe that uses it"),
        "pyproject.toml": (filled("pyproject.txt"), "the package; says where imcswav finds it"),
        "README.md": (filled("readme.txt"), "how to install and run it"),
    }


def _template(name: str) -> str:
    return TEMPLATES.joinpath(name).read_text(encoding="utf-8")
