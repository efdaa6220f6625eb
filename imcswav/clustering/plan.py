"""Which recipe clusters a folder: nobody who has photographs should have to write one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from imcswav.errors import DataError, ImcswavError, RunError
from imcswav.imaging.find import find_images, folder_images
from imcswav.imaging.read import decode, shorter_side
from imcswav.part import dump_part
from imcswav.recipe.files import load_recipe
from imcswav.recipe.merge import Overrides
from imcswav.runs import RunFolder
from imcswav.start import finished

if TYPE_CHECKING:
    from imcswav.model import Model

Quality = Literal["fast", "best"]
BACKBONE = "vit_small_patch14_dinov2.lvd142m"
"""DINOv2, small: learned without labels from 142 million photographs (Oquab et al. 2023, arXiv 2304.07193)."""
PREFIX = "cluster-"
"""Of a recipe's name that is made of a folder's."""
SIDE = 224
"""Pixels of a side for pretrained networks that take any size."""
SAMPLE = 50
"""Files that are looked at to see what kind of images a folder has."""
SMALL, TINY = 64, 12
"""Sides in pixels up to which networks for small images, and for tiny ones, are meant."""
FEW = 256
"""Fewer images than two batches of the recipes are trained on by smaller batches."""
GREY = 4
"""Most difference between the channels of a grey image, in levels of 255: what JPEG leaves."""


@dataclass(frozen=True)
class Plan:
    """A recipe, what is changed in it, and the reason in a sentence."""

    recipe: str | Path
    changes: Mapping[str, Any]
    why: str


def plan(
    folder: Path,
    *,
    quality: Quality = "fast",
    backbone: str | None = None,
    scratch: bool = False,
    distinct: bool = False,
    cuda: bool = False,
    settings: Overrides = (),
) -> Plan:
    """The recipe for a folder of images; ``backbone`` is a timm model's name or a run folder.

    ``distinct``: duplicates will be left out. ``settings`` are the caller's changes, by which batches of few images
    are judged; mistakes in them are told before files are looked at.

    Raises RecipeError for these, DataError for a folder without images, RunError for a run that isn't finished,
    ImcswavError for what can't go together.
    """
    if scratch and backbone is not None:
        raise ImcswavError("--from-scratch and --backbone can't go together: give one of them.")
    data = {"data.name": "image_folder", "data.root": str(folder.resolve()), "data.splits": "none"}
    paths, _ = folder_images(folder)
    if scratch:
        return _fitting(_from_scratch(data, paths, cuda), folder.resolve(), distinct, settings)
    if backbone is not None and re.match(r"[./~]", backbone) and not Path(backbone).exists():
        raise RunError(f"There is no run folder {backbone}; give one, or the name of a timm model, as --backbone.")
    if backbone is not None and Path(backbone).exists():
        run = finished(Path(backbone).resolve())
        if quality == "fast":
            return of_run(data, run)
        return _fitting(_trained_on(data, run), folder.resolve(), distinct, settings)
    model = backbone or BACKBONE
    if quality == "best":
        why = f"IMC-SwAV from the pretrained weights of {model}."
        found = Plan("folder_finetuned", {**data, "backbone.model": model, "data.size": side_of(model)}, why)
        return _fitting(found, folder.resolve(), distinct, settings)
    why = f"Features of the pretrained {model}, and many heads on them."
    return Plan("folder_pretrained", {**data, "backbone.model": model, "data.size": side_of(model)}, why)


def _from_scratch(data: Mapping[str, Any], paths: list[Path], cuda: bool) -> Plan:
    sample = paths[:: max(1, len(paths) // SAMPLE)]
    sides = [side for path in sample if (side := shorter_side(path)) is not None]
    grey = _grey(sample)
    changes = {**data, "data.channels": 1 if grey else 3}
    if grey and sides and max(sides) <= TINY:
        why = f"Trained from scratch by the recipe digits, for grey images of at most {TINY} px."
        return Plan("digits", {**changes, "data.size": TINY}, why)
    recipe = "folder" if cuda else "folder_small"
    where = "on a GPU" if cuda else "on a CPU"
    return Plan(recipe, changes, f"Trained from scratch by the recipe {recipe}, {where}.")


def combined(changes: Mapping[str, Any], settings: Overrides) -> Overrides:
    """A plan's changes with the caller's over them."""
    if isinstance(settings, Mapping):
        return {**changes, **settings}
    return [changes, *([settings] if isinstance(settings, str) else settings)]


def _fitting(found: Plan, folder: Path, distinct: bool, settings: Overrides) -> Plan:
    """The plan with batches of half of few images, where its recipe has larger ones."""
    from imcswav.quality import inspect_once  # by which the run will look, and which remembers

    own = load_recipe(found.recipe, combined({**found.changes, "clusters": 2}, settings)).trainer.batch_size
    looked = inspect_once(find_images(folder), folder)
    images = len(looked.distinct if distinct else looked.seen)
    if images >= FEW:
        return found
    return replace(found, changes={**found.changes, "trainer.batch_size": min(own, max(2, images // 2))})


def of_run(data: Mapping[str, Any], run: RunFolder) -> Plan:
    """The run's backbone as it is, on images as the run had them; ``data`` says which."""
    from imcswav.model import Model

    model, learner = Model.load(run.path, "cpu"), run.recipe().learner
    settings = getattr(learner, "backbone", None)
    if settings is None:
        raise RunError(f"The network of the run {run.path} has no backbone of its own; give another --backbone.")
    mean, std = model.learner.normalization()
    changes = {
        **data, **_form(model),
        "learner.mean": list(mean), "learner.std": list(std), "init.run": str(run.path),
        **{f"backbone.{key}": value for key, value in dump_part(settings.restored()).items()},
    }  # fmt: skip
    return Plan("folder_pretrained", changes, f"Features of the network of {run.path}, and many heads on them.")


def _form(model: Model) -> dict[str, Any]:
    """The form in which a model takes images."""
    return {f"data.{key}": getattr(model.facts, key) for key in ("size", "channels", "resize")}


def _trained_on(data: Mapping[str, Any], run: RunFolder) -> Plan:
    """The run's own recipe on the new images, from its weights."""
    from imcswav.model import Model

    model, learner = Model.load(run.path, "cpu"), run.recipe().learner
    changes = {**data, **_form(model), "init.run": str(run.path)}
    if hasattr(getattr(learner, "views", None), "mean"):  # the network expects images as it saw them
        mean, std = model.learner.normalization()
        changes |= {"views.mean": list(mean), "views.std": list(std)}
    return Plan(run.path / "recipe.toml", changes, f"Trained on from the run {run.path}, by its recipe.")


def side_of(model: str) -> int:
    """Pixels of a side for a pretrained model: its own, or fewer where that is large."""
    import timm

    known = timm.models.get_pretrained_cfg(model)
    if known is None:
        return SIDE
    return min(int(known.input_size[-1]), SIDE)


def _grey(paths: list[Path]) -> bool:
    """Whether all that can be read of them have no colours."""
    for path in paths:
        try:
            image_CHW = decode(path, size=SMALL, channels=3).int()
        except DataError:
            continue
        if int((image_CHW.amax(0) - image_CHW.amin(0)).max()) > GREY:
            return False
    return True
