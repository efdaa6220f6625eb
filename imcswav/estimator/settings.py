"""Parameters of the estimator → a recipe and its overrides."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from imcswav.clustering.plan import TINY, of_run, side_of
from imcswav.devices import pick_device
from imcswav.errors import RecipeError
from imcswav.recipe.files import load_recipe
from imcswav.recipe.merge import parse_overrides
from imcswav.start import finished

Source = str | Path | Mapping[str, Any]

OWN = {"clusters": "n_clusters", "seed": "random_state", "trainer.device": "device"}
"""Settings of a recipe that are parameters of the estimator."""
UNSEEN = ("callbacks.tensorboard.enabled", "callbacks.checkpoint.enabled", "evaluation.signals", "evaluation.plots")
"""Settings for what only makes files, which nobody would find in a temporary folder."""


def asked(estimator: Any, seed: int, given: Any) -> tuple[Source, dict[str, Any]]:
    """The recipe of an ``ImageClustering`` for the images ``given``, and all that changes it.

    The user's settings stand between what they may change and what the parameters say. Raises ValueError for a setting
    that is a parameter, TypeError for settings that are no dict and clusters that are no whole number.
    """
    if not isinstance({} if estimator.settings is None else estimator.settings, Mapping):
        raise TypeError(f'settings has to be a dict such as {{"trainer.epochs": 20}}, not {estimator.settings!r}.')
    settings = {key: _plain(value) for key, value in (estimator.settings or {}).items()}
    for key in OWN.keys() & {".".join(map(str, change.path)) for change in parse_overrides(settings)[0]}:
        raise ValueError(f"settings has '{key}', which is the parameter {OWN[key]}; give it there.")
    device = pick_device(estimator.device)
    source = estimator.recipe
    if source is None:
        source = _usual(estimator.backbone is not None, given, device.type)
    changes = {"callbacks.console.enabled": bool(estimator.verbose)}
    if estimator.out is None:
        changes |= dict.fromkeys(UNSEEN, False)
    changes |= _shape(source)
    if estimator.backbone is not None:
        changes |= _frozen(estimator.backbone)
        _refuse_training(source, settings)
    own = {"clusters": _whole(estimator.n_clusters), "seed": seed, "trainer.device": str(device)}
    return source, {**changes, **settings, **own}


def _whole(clusters: Any) -> int:
    try:
        return operator.index(clusters)
    except TypeError as error:
        raise TypeError(f"n_clusters has to be a whole number, not {clusters!r}.") from error


def named(error: RecipeError) -> RecipeError:
    """The error with the estimator's own names for what its parameters set."""
    own = [replace(one, path=OWN[one.path]) if one.path in OWN else one for one in error.problems]
    return RecipeError(error.source, own)


def _usual(ready: bool, given: Any, device: str) -> str:
    """The shipped recipe for ready features, else for images and a device like these."""
    if ready:
        return "folder_pretrained"
    sides = [side for side in getattr(given, "shape", ())[1:] if side > 1]
    if len(sides) == 2 and max(sides) <= TINY:
        return "digits"
    return "folder" if device == "cuda" else "folder_small"


def drawn_seed(random_state: Any) -> int:
    """An int as it is, so that it is that of ``imcswav.run``; else one drawn as scikit-learn does."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _shape(source: Source) -> dict[str, Any]:
    """Size and way of resizing that the recipe has for its own data, for those handed over."""
    try:
        data = load_recipe(source).data
    except RecipeError:  # no data in it, which are not needed; what else is wrong the run tells
        return {}
    return {f"data.{key}": getattr(data, key) for key in ("size", "resize") if hasattr(data, key)}


def _frozen(backbone: str | Path) -> dict[str, Any]:
    """What a recipe with the learner "frozen" needs for this backbone, and the form of the images that it knows."""
    if Path(backbone).exists():
        return dict(of_run({}, finished(Path(backbone).resolve())).changes)
    return {"backbone.model": str(backbone), "data.size": side_of(str(backbone))}


def _refuse_training(source: Source, settings: Mapping[str, Any]) -> None:
    """Raise ValueError for a recipe that trains, as the features of a backbone are clustered as they are."""
    try:
        recipe = load_recipe(source, {**settings, "data.name": "array"})
    except RecipeError:  # of which the run tells
        return
    if recipe.trainer.epochs:
        raise ValueError(
            f"backbone is a network whose features are clustered as they are, and the recipe {recipe.name} trains one; "
            f"leave one of the two out."
        )


def _plain(value: Any) -> Any:
    """numpy's numbers, as grids of parameters hold them, as Python's."""
    return value.item() if isinstance(value, np.generic) else value
