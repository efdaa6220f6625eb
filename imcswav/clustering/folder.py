"""A folder of images in, a run folder with labels, clusters and a report out; no recipe needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from imcswav import api
from imcswav.build import prepare_torch, start_learner
from imcswav.clusterers import Array
from imcswav.clustering.plan import PREFIX, Plan, Quality, combined, plan
from imcswav.data import Data, blind_subset
from imcswav.devices import pick_device
from imcswav.errors import DataError, ImcswavError, Problem, RunError, WeightsError
from imcswav.learners import Learner
from imcswav.model import Model
from imcswav.protocol import training_data
from imcswav.recipe import Recipe
from imcswav.recipe.files import load_recipe
from imcswav.recipe.merge import Overrides, parse_overrides
from imcswav.runs import RunFolder, refuse_filled, same_but_for_place

Tell = Callable[[str], object]
SET_WEIGHTS = (
    " and add --set backbone.pretrained=false --set backbone.weights=FILE, or train without weights: --from-scratch"
)
NEEDS_CLUSTERS = (
    "How many clusters there are can only be chosen on a network that is there already; give -k, or choose "
    "afterwards with: imcswav choose-k RUN"
)
OTHER_BACKBONE = ", or take the network of a finished run: --backbone RUN"


def cluster(
    folder: str | Path,
    clusters: int | None = None,
    *,
    out: str | Path | None = None,
    quality: Quality = "fast",
    backbone: str | Path | None = None,
    from_scratch: bool = False,
    drop_duplicates: bool = False,
    score: bool = False,
    device: str = "auto",
    seed: int = 0,
    settings: Overrides = (),
    warn: Callable[[Problem], object] | None = None,
    tell: Tell = lambda text: None,
) -> api.RunResult:
    """Sort the images of a folder into ``clusters`` groups; gives the run, whose folder has labels and report.

    ``quality`` "fast" clusters features of a frozen network, "best" trains it on. ``backbone``: a timm model's name or
    a run folder; ``from_scratch`` takes no weights at all. ``clusters`` None chooses their number (fast only).
    ``score``: folders are classes, known for scoring only. ``settings`` change the recipe as in ``imcswav.run``;
    ``tell`` gets a sentence before each stage. Features are kept in the cache (IMCSWAV_CACHE), so that the same call
    after an interruption goes on where it was.

    Raises DataError, RecipeError, RunError and ImcswavError as ``imcswav.run`` does.
    """
    if clusters is None and (from_scratch or quality == "best"):
        raise ImcswavError(NEEDS_CLUSTERS)  # before all files are read
    refuse_inside(Path(folder), Path("runs") if out is None else Path(out))
    if out is not None and not _begun(Path(out)):
        refuse_filled(Path(out), "--out")
    if any(change.path == ("clusters",) for change in parse_overrides(settings)[0]):
        raise ImcswavError("The number of clusters is no setting here; give it as -k, in Python as clusters.")
    target = pick_device(device)
    chosen = plan(
        Path(folder), quality=quality, backbone=None if backbone is None else str(backbone), scratch=from_scratch,
        distinct=drop_duplicates, cuda=target.type == "cuda", settings=settings,
    )  # fmt: skip
    tell(chosen.why)
    changes: dict[str, Any] = {
        **chosen.changes,
        "name": _name(Path(folder)),
        "seed": seed,
        "trainer.device": str(target),
        "data.duplicates": "drop" if drop_duplicates else "keep",
        "data.labels": "auto" if score else "none",
        "callbacks.clustering.enabled": True,
    }
    data = None
    try:
        if clusters is None:
            clusters, data = _choose(chosen, changes, settings, tell)
        overrides = combined({**changes, "clusters": clusters}, settings)
        if out is not None and _stopped(Path(out), chosen, overrides):
            tell(f"Going on in {out}.")
            return api.resume(out, data=data)
        return api.run(chosen.recipe, overrides, out=out, data=data, warn=warn)
    except WeightsError as error:
        raise WeightsError(_without_weights(chosen, error.source, SET_WEIGHTS), error.source) from error


def _begun(out: Path) -> bool:
    """Whether a folder holds a run that isn't finished."""
    return (out / "recipe.toml").is_file() and not RunFolder(out).finished


def _stopped(out: Path, chosen: Plan, overrides: Overrides) -> bool:
    """Whether a folder holds the same run, begun and not finished."""
    if not _begun(out):
        return False
    asked = load_recipe(chosen.recipe, overrides).resolved()
    return same_but_for_place(RunFolder(out).recipe(), asked.model_copy(update={"expected": None}))


def refuse_inside(folder: Path, out: Path) -> None:
    """Raise RunError for results that the next run would take for images."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"{out} lies in the folder of images, where results would be taken for images; give another.")


def _without_weights(chosen: Plan, source: str, remedy: str) -> str:
    model = chosen.changes["backbone.model"]
    get = f"get them where there is a network (hf download {source} model.safetensors)" if source else "get them"
    return (
        f"The pretrained weights of {model} are neither on this machine nor to be had from the network; {get}{remedy}"
    )


def _choose(chosen: Plan, changes: Mapping[str, Any], settings: Overrides, tell: Tell) -> tuple[int, Data]:
    recipe = load_recipe(chosen.recipe, combined({**changes, "clusters": 2}, settings))
    if recipe.trainer.epochs:
        raise ImcswavError(NEEDS_CLUSTERS)
    from imcswav.k_choice import choose_k

    features_NF, data = frozen_features(recipe)
    try:
        choice = choose_k(features_NF, seed=recipe.seed)
    except DataError as error:
        raise DataError(f"{error} Or say how many clusters there are: -k.") from error
    tell(choice.sentence)
    return choice.k, data


def folder_features(folder: Path, backbone: str | None = None, device: str = "auto") -> Array:
    """Features (N, F) of a folder's images, or of 5,000 of them, by a frozen network; raises as ``cluster``."""
    from imcswav.k_choice import SAMPLE

    chosen = plan(folder, backbone=backbone)
    try:
        recipe = load_recipe(chosen.recipe, {**chosen.changes, "clusters": 2, "trainer.device": device})
        return frozen_features(recipe, most=SAMPLE)[0]
    except WeightsError as error:
        raise WeightsError(_without_weights(chosen, error.source, OTHER_BACKBONE), error.source) from error


def frozen_features(recipe: Recipe, most: int | None = None) -> tuple[Array, Data]:
    """Features (N, F) of the training images by the network that a recipe starts from, and the data.

    ``most``: of so many images at most, drawn by their number.
    """
    prepare_torch(recipe)
    data = training_data(recipe.resolved())
    settings = recipe.learner
    assert isinstance(settings, Learner.Config)
    settings = settings if recipe.init is None else settings.restored()
    learner: Learner = settings.build(facts=data.facts, clusters=recipe.clusters)
    start_learner(recipe, learner, [])
    model = Model(
        learner.eval(), facts=data.facts, clusters=recipe.clusters, flip=recipe.predict.flip,
        precision=recipe.trainer.precision,
    ).to(pick_device(recipe.trainer.device))  # fmt: skip
    with torch.no_grad():
        images = data.readable().train.images
        chosen = images if most is None else images[torch.tensor(blind_subset(len(images), most))]
        return model.embed_kept(chosen).features.cpu().numpy(), data


def _name(folder: Path) -> str:
    """A recipe's name made of a folder's."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._")[:80]
    return f"{PREFIX}{kept or 'images'}"
