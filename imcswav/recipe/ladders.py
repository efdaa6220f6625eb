"""Ladders: folders of recipes that extend one another by one change each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imcswav.errors import Problem, RecipeError
from imcswav.plugins import did_you_mean
from imcswav.recipe import sources


@dataclass(frozen=True)
class Ladder:
    """Its name and the file of each rung, from the lowest up."""

    name: str
    rungs: dict[str, Path]

    def below(self) -> dict[str, str | None]:
        """What each rung is compared with: the rung it extends, if that comes before it, else the one before it."""
        found: dict[str, str | None] = {}
        for name, path in self.rungs.items():
            base = sources.extended(path)
            same = [lower for lower in found if base is not None and self.rungs[lower].resolve() == base.resolve()]
            found[name] = next(iter(same), next(reversed(found), None))
        return found


def ladder_names() -> list[str]:
    """Names of the ladders that come with the package, sorted: its folders of recipes, as "plus/digits"."""
    return sorted({name.rpartition("/")[0] for name in sources.recipe_names() if "/" in name})


def find_ladder(source: str | Path) -> Ladder:
    """The recipes directly in a folder, or in a shipped ladder by its name; a rung is called as its file.

    As with recipes, a folder that is there goes before a shipped name with a slash, and a bare name is a shipped one's
    first. Raises RecipeError where there is no such folder, or no recipe in it.
    """
    name, folder, shipped = Path(source).as_posix(), Path(source), ladder_names()
    if name in shipped and not ("/" in name and folder.is_dir()):
        folder = sources.shipped() / name
    elif folder.is_dir():
        name = folder.resolve().name
    elif folder.exists():
        raise RecipeError(name, [Problem("", "is a file; a ladder is a folder of recipes.")])
    else:
        known = did_you_mean(name, shipped) if shipped else ""
        raise RecipeError(name, [Problem("", "there is no such folder of recipes.", known)])
    rungs = {path.stem: path for path in sorted(folder.glob("*.toml")) if not path.name.startswith(".")}
    if not rungs:
        raise RecipeError(str(source), [Problem("", "holds no recipes (*.toml).", "Give a folder of some.")])
    return Ladder(name, rungs)
