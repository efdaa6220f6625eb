"""Heads: small networks on the features, or on another head's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from imcswav.component import Component
from imcswav.errors import Problem

COPY_MOMENTUM = 0.99
"""Share of the running mean of a copy's loss that stays at each step."""


@dataclass(frozen=True)
class ReadsHead:
    """Marks a setting that names a head, so that ``imcswav check`` can tell when there is none such.

    ``copies``: whether it may have several copies. ``unless``: a value that names no head but something else that the
    part can do.
    """

    copies: bool = False
    unless: str | None = None

    def reads(self, value: str | None) -> bool:
        """Whether the setting, so set, names a head."""
        return value not in (None, self.unless)


HeadName = Annotated[str, ReadsHead()]
AnyHeadName = Annotated[str | None, ReadsHead()]
CopiedHeadName = Annotated[str, ReadsHead(copies=True)]


def head_settings(part: Component.Config) -> dict[str, ReadsHead]:
    """The settings of a part that name a head, as they are set, and how they are marked."""
    marked = [(name, mark) for name, field in type(part).model_fields.items() for mark in field.metadata]
    return {name: mark for name, mark in marked if isinstance(mark, ReadsHead) and mark.reads(getattr(part, name))}


def named_heads(part: Component.Config) -> dict[str, str]:
    """The heads that a part's settings name, by setting; those of the teacher as "teacher.<head>"."""
    return {name: getattr(part, name) for name in head_settings(part)}


class Head(Component, nn.Module, kind="head"):
    """A head maps rows (M, in_features) to rows (M, out_features); M counts the views of all images, image-major.

    It may be E > 1 copies, networks of one shape that differ in their weights: rows then are (M, E, out_features), and
    outputs in a Step (V, B, E, out_features). What is trained is all of them, what assigns is the ``chosen`` one.

    Generic hooks, called by the learner with the training's ``Progress``: ``prepare`` (before a step, outside any
    recording), ``before_step`` (before forward), ``before_update`` (gradients are there, the optimiser has not moved)
    and ``after_step``; and ``start_epoch``, with an ``Epoch``. Losses may have them too.
    """

    class Config(Component.Config):
        input: HeadName = "features"
        """What the head reads: "features" (the backbone's) or another head's name."""
        detach: bool = False
        """Stop the gradient at the input, so that this head's losses train nothing below it."""

        def out_features(self, in_features: int, clusters: int) -> int:
            """Width of the output, known without building the head."""
            raise NotImplementedError

        def copy_count(self) -> int:
            """E, how many copies of the head there are."""
            return 1

        def check_training(self, coded: int, steps: int | None) -> list[Problem]:
            """Problems with so many ``coded`` images that get codes together, and with a training of so many steps."""
            return []

    mixed_precision: ClassVar[bool] = False
    """Whether ``forward`` may run under autocast, in half precision on a GPU; else it computes in float32."""
    config: Config
    copy_losses: Tensor
    """Running mean of each copy's own loss (E,), where there are several; it decides which one is used."""

    def __init__(self, config: Any, *, in_features: int, clusters: int) -> None:
        super().__init__(config)
        self.in_features = in_features
        self.out_features = config.out_features(in_features, clusters)
        self.copies = config.copy_count()
        if self.copies > 1:
            self.register_buffer("copy_losses", torch.zeros(self.copies))

    def forward(self, x_MF: Tensor) -> Tensor:
        """Rows in, rows out."""
        raise NotImplementedError

    @torch.no_grad()
    def rank(self, losses_E: Tensor) -> None:
        """In training, move the running mean towards the copies' losses of this step."""
        if self.training:  # what is left of the start, 0, is alike for all of them and changes no order
            self.copy_losses.lerp_(losses_E.to(self.copy_losses.dtype), 1 - COPY_MOMENTUM)

    def chosen(self, rows: Tensor) -> Tensor:
        """Rows (M, out_features) of the copy with the lowest running loss; those of a lone head as they are."""
        if self.copies == 1:
            return rows
        return rows.index_select(1, self.copy_losses.argmin().view(1)).squeeze(1)
