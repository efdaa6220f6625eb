"""The loop of ``imcswav.bench.loop`` around a recipe's own network, for recipes that it can stand for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imcswav.bench.subject import Subject
from imcswav.errors import ImcswavError
from imcswav.learners import Learner
from imcswav.learners.multiview import MultiView
from imcswav.losses.imc import IMC
from imcswav.losses.swav import SwAV
from imcswav.recipe import Recipe
from imcswav.solvers.sinkhorn import Sinkhorn
from imcswav.step import Output, Step
from imcswav.views.multicrop import MultiCrop

PLAIN = {"batch_norm": "pooled", "activation_checkpointing": False, "micro_batch": None}
"""With one crop a call, statistics of a call are statistics of a view."""


def check_comparable(recipe: Recipe, channels: int) -> None:
    """Raises ImcswavError when the loop isn't this recipe's method."""
    settings: Any = recipe.learner
    reason = _difference(settings, channels)
    if reason:
        raise ImcswavError(
            f"The loop of the benchmark is IMC-SwAV and no other method, and in {recipe.name} {reason}; leave out "
            f"--against loop, or take a recipe such as imc_swav_cifar10."
        )


def _difference(settings: Any, channels: int) -> str | None:
    if not isinstance(settings, MultiView.Config):
        return f"the learner is '{settings.owner.name}'"
    if any(head.copy_count() > 1 for head in settings.heads.values()):
        return "a head has several copies"
    if settings.teacher is not None:
        return "there is a teacher"
    if settings.bank is not None:
        return "there is a bank"
    if any(getattr(head, "noise", 0.0) > 0 for head in settings.heads.values()):
        return "a head adds noise"
    names = [loss.owner for loss in settings.losses]
    if len(set(names)) != len(names) or not set(names) <= {SwAV, IMC}:
        return "the losses are not one 'swav' and one 'imc'"
    for loss in settings.losses:
        if not isinstance(loss, SwAV.Config):
            continue
        if not isinstance(loss.solver, Sinkhorn.Config) or loss.solver.prior is not None:
            return "codes don't come from an even 'sinkhorn'"
        if loss.codes or loss.queue:
            return "codes are made of more than the batch's own scores"
    views = settings.views
    if not isinstance(views, MultiCrop.Config) or channels != 3:
        return "the views are not 'multicrop' of colour images"
    others = [name for name in ("blur", "solarize", "rotation") if getattr(views, name) > 0]
    return f"the views have {others[0]}" if others else None


def plain_network(recipe: Recipe, of: Learner) -> Any:
    """The same network and weights with ordinary batch norm, on the same device, in float32 and torch's own layout."""
    settings: Any = recipe.learner.restored().model_copy(update=PLAIN)  # type: ignore[attr-defined]
    network = settings.build(facts=of.facts, clusters=recipe.clusters)
    network.load_state_dict(of.state_dict())
    return network.to(next(of.parameters()).device).train()


def loss_outputs(subject: Subject, seed: int = 0) -> tuple[dict[str, Tensor], int]:
    """Random heads' outputs (V, B, ·) of the recipe's sizes, float32, and how many views are global.

    In memory image-major, as the learner has them.
    """
    settings: Any = subject.recipe.learner
    groups = settings.views.groups()
    views = sum(group.count for group in groups)
    generator = torch.Generator().manual_seed(seed)
    outputs = {}
    for name, width in widths(subject.learner).items():
        values = torch.randn(subject.batch_size, views, width, generator=generator).transpose(0, 1)
        cosines = name in {loss.config.scores for loss in subject.learner.losses}  # type: ignore[union-attr]
        outputs[name] = (values.clamp(-4, 4) / 5 if cosines else values).to(subject.device)
    return outputs, groups[0].count


def widths(learner: Any) -> dict[str, int]:
    """Width of each head's output."""
    return {name: head.out_features for name, head in learner.heads.items()}


def step_of(outputs: dict[str, Tensor], global_views: int) -> Step:
    """The step that holds heads' outputs (V, B, ·) as the learner's does; its progress is not known."""
    step = Step(global_views=global_views)
    for name, tensor in outputs.items():
        step.outputs[f"online.{name}"] = Output(tensor, tuple(range(len(tensor))))
    return step
