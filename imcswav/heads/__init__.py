"""Heads: small networks on the features, or on another head's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor, nn

from imcswav.component import Component
from imcswav.errors import Problem


@dataclass(frozen=True)
class ReadsHead:
    """Marks a setting that names a head, so that ``imcswav check`` can tell when there is none such."""


HeadName = Annotated[str, ReadsHead()]
AnyHeadName = Annotated[str | None, ReadsHead()]


def named_heads(part: Component.Config) -> dict[str, str]:
    """The heads that a part's settings name, by setting; those of the teacher as "teacher.<head>"."""
    fields = type(part).model_fields.items()
    marked = [name for name, field in fields if any(isinstance(mark, ReadsHead) for mark in field.metadata)]
    return {name: head for name in marked if (head := getattr(part, name)) is not None}


class Head(Component, nn.Module, kind="head"):
    """A head maps rows (M, in_features) to rows (M, out_features); M counts the views of all images, image-major.

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

        def check_training(self, coded: int, steps: int | None) -> list[Problem]:
            """Problems with batches of ``coded`` views that get codes, and with a training of so many steps."""
            return []

    config: Config

    def __init__(self, config: Any, *, in_features: int, clusters: int) -> None:
        super().__init__(config)
        self.in_features = in_features
        self.out_features = config.out_features(in_features, clusters)

    def forward(self, x_MF: Tensor) -> Tensor:
        """Rows in, rows out."""
        raise NotImplementedError
