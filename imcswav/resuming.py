"""What a checkpoint remembers of its recipe, and what may have changed when a run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imcswav.recipe import Recipe
from imcswav.recipe.flat import flat
from imcswav.runs import PLACE, within

FREE = (
    *PLACE, "name", "data", "init", "callbacks", "clusterer", "evaluation", "predict", "trainer.epochs",
    "trainer.max_steps",
)  # fmt: skip
"""Dotted paths of what a run may go on with another value of: how long, where and watched by what it is trained, and
what is made of the network afterwards. Images are told apart by their digest, not by where they lie."""
SHOWN = 3
ABSENT = "absent"


def remembered(recipe: Recipe) -> dict[str, str]:
    """The settings that decide the training, as JSON by dotted path, and the version that names them."""
    from imcswav import __version__

    settings = {path: value for path, value in flat(recipe.tables()).items() if not within(path, FREE)}
    return {"": __version__, **{path: json.dumps(value, default=str) for path, value in settings.items()}}


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The settings that differ, in words; "" where none does.

    Of another version only settings that both have count: what came or went with a version is no change of a recipe.
    """
    paths = [path for path in {**then, **now} if path]
    if then.get("") != now.get(""):
        paths = [path for path in paths if path in then and path in now]
    found = [path for path in paths if then.get(path) != now.get(path)]
    told = [f"{path} was {then.get(path, ABSENT)} and is now {now.get(path, ABSENT)}" for path in found[:SHOWN]]
    return "; ".join(told + ([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []))


def missing(state: Mapping[str, Any], needed: tuple[str, ...]) -> str:
    """The entries that a checkpoint lacks, in words."""
    return ", ".join(name for name in needed if name not in state)
