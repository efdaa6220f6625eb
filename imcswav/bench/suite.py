"""``--suite``: all that is to be known of a recipe on one machine, in one go; what fails is told and passed by."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from imcswav.bench.measure import whole_step
from imcswav.bench.parts import dearest, evaluation, reason
from imcswav.bench.subject import EAGER, changed
from imcswav.data import Data
from imcswav.heads.prototypes import Prototypes
from imcswav.recipe import Recipe
from imcswav.views.multicrop import MultiCrop

Changes = dict[str, Any]


def suite(recipe: Recipe, data: Data, device: torch.device) -> dict[str, Any]:
    """Variants, growth, evaluation time and a profile, as plain values."""
    return {
        "variants": [
            {"name": name, **_tried(recipe, data, device, changes)} for name, changes in variants(recipe, device)
        ],
        "growth": {
            what: [
                {"value": value, **_tried(recipe, source, device, {"trainer.compile": False, **changes})}
                for value, changes, source in points
            ]
            for what, points in growth(recipe, data).items()
        },
        "evaluation": evaluation(recipe, data, device),
        "profile": dearest(recipe, data, device),
    }


def variants(recipe: Recipe, device: torch.device) -> Iterator[tuple[str, Changes]]:
    """Names and settings: precision, batch norm where the learner has a choice, and how the step is run.

    In float32 it is run one way only: compiling takes a minute each time.
    """
    eager = ("eager", EAGER)
    ways = [eager, ("compiled", {"trainer.compile": True, "trainer.cuda_graph": False})]
    if device.type == "cuda":
        ways.append(("graph", {"trainer.compile": False, "trainer.cuda_graph": True}))
        ways.append(("compiled, graph", {"trainer.compile": True, "trainer.cuda_graph": True}))
    norms = ("per_view", "pooled") if hasattr(recipe.learner, "batch_norm") else (None,)
    for precision, chosen in (("bf16", ways), ("fp32", ways[-1:] if device.type == "cuda" else [eager])):
        for norm in norms:
            for way, settings in chosen:
                own = {} if norm is None else {"learner.batch_norm": norm}
                name = ", ".join(part for part in (precision, norm, way) if part)
                yield name, {"trainer.precision": precision, **own, **settings}


def growth(recipe: Recipe, data: Data) -> dict[str, list[tuple[int, Changes, Data]]]:
    """Values, settings and data by what grows: batch, images, and prototypes and views where there are such.

    Not compiled, for every new shape would be compiled anew; recorded as a graph where that can be.
    """
    batch, images = recipe.trainer.batch_size, len(data.train)
    sizes = [size for size in (batch // 4, batch // 2, batch, 2 * batch, 4 * batch) if 2 <= size <= images]
    points: dict[str, list[tuple[int, Changes, Data]]] = {
        "batch": [(size, {"trainer.batch_size": size}, data) for size in sizes],
        "images": [
            (count, {}, with_images(data, count))
            for count in (images // 4, images, 4 * images)
            if count >= batch and not data.streamed  # which would all be read, to be held in memory
        ],
    }
    learner: Any = recipe.learner
    for name, head in getattr(learner, "heads", {}).items():
        if isinstance(head, Prototypes.Config):
            counts = [max(2, head.count // 4), head.count, 4 * head.count]
            points["prototypes"] = [(count, {f"heads.{name}.count": count}, data) for count in counts]
    views = getattr(learner, "views", None)
    if isinstance(views, MultiCrop.Config):
        place, others = len(views.crops) - 1, sum(crop.count for crop in views.crops[:-1])
        own = views.crops[place].count
        counts = sorted({count for count in (max(1, own // 2), own, 2 * own) if others + count > 1})
        points["views"] = [(others + count, {f"views.crops.{place}.count": count}, data) for count in counts]
    return points


def with_images(data: Data, count: int) -> Data:
    """The same data with so many training images, repeated where there aren't enough."""
    index = torch.arange(count, device=data.train.images.device) % len(data.train)
    names = [data.train.names[place % len(data.train)] for place in range(count)]
    found = copy.copy(data)
    subsets = {name: member_N[index.cpu()] for name, member_N in data.train.subsets.items()}
    images = data.train.images[index]
    found.train = dataclasses.replace(data.train, images=images, names=names, labels=None, subsets=subsets)
    return found


def _tried(recipe: Recipe, data: Data, device: torch.device, changes: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return whole_step(changed(recipe, changes), data, device)
    except Exception as error:
        return {"failed": reason(error)}
