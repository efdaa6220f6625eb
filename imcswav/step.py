"""Step: what the parts of one training step hand each other.

Shape legend, used at the end of tensor names throughout the library:

    V  views (crops) of an image        N  images of a data set       P  prototypes
    G  global views, the first of V     C H W  channels, rows, cols   K  clusters
    B  images in a batch                F  backbone features          R  ranks (processes)
    E  copies of a head                 D  projection width
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

ONLINE, TEACHER = "online", "teacher"
"""Branches: the trained network, and the one that follows it."""


@dataclass(frozen=True)
class Progress:
    """How far training is: ``step`` counts optimiser steps from 0, ``epoch`` from 0, ``steps`` is the total."""

    step: int
    epoch: int
    steps: int
    steps_per_epoch: int


@dataclass(frozen=True)
class Output:
    """What one head gave: ``tensor`` (V', B, ·) for the views listed in ``views`` (indices into V)."""

    tensor: Tensor
    views: tuple[int, ...]


@dataclass
class Step:
    """Outputs of one forward pass by ``branch.head``; a name without a dot means the online branch.

    ``global_views`` G: views 0…G−1 are the ones codes are computed for. ``features`` are the backbone's.
    """

    global_views: int
    outputs: dict[str, Output] = field(default_factory=dict)
    logs: dict[str, Tensor] = field(default_factory=dict)
    """Scalars a part wants in the log; they stay on the device until a logging step."""
    progress: Progress | None = None
    index: Tensor | None = None
    """Places (B,) of the batch's images among all training images, int64."""
    heads: dict[str, nn.Module] = field(default_factory=dict)
    """The heads behind the outputs, by ``branch.head``: rows of other images can be scored by them."""
    reports: dict[str, Tensor] = field(default_factory=dict)
    """What the loss at hand was for each copy of a head (E,), by the head's name; no gradient."""

    def __getitem__(self, name: str) -> Tensor:
        """The (V', B, ·) output of a head; raises KeyError naming the outputs that exist."""
        return self.output(name).tensor

    def fill(self, branch: str, rows: dict[str, Tensor], views: int) -> None:
        """Take the rows (B · V, ·), image-major, of every head of a branch as its outputs (V, B, ·)."""
        for name, rows_MD in rows.items():
            tensor_VBD = rows_MD.unflatten(0, (-1, views)).transpose(0, 1)
            self.outputs[f"{branch}.{name}"] = Output(tensor_VBD, tuple(range(views)))

    def head(self, name: str) -> tuple[nn.Module, Output]:
        """A head and the output that it reads; raises KeyError naming the heads that exist."""
        full = full_name(name)
        if full not in self.heads:
            raise KeyError(f"no head '{full}'; this step has {', '.join(self.heads)}")
        found: Any = self.heads[full]
        return found, self.output(f"{split(name)[0]}.{found.config.input}")

    def over_copies(self, name: str, losses_E: Tensor) -> Tensor:
        """The scalar for a loss of a head's E copies: their mean, with the gradient of their sum.

        So each copy is trained as it would be alone, whatever E. The losses are reported for the choice of a copy.
        """
        own_E = self.reports[split(name)[1]] = losses_E.detach()
        return own_E.mean() + (losses_E.sum() - own_E.sum())

    def output(self, name: str) -> Output:
        """The output with the list of views it saw."""
        full = full_name(name)
        try:
            return self.outputs[full]
        except KeyError:
            raise KeyError(f"no output '{full}'; this step has {', '.join(self.outputs)}") from None


def split(name: str) -> tuple[str, str]:
    """Branch and head of a name: "teacher.classifier", or "classifier" of the online branch."""
    branch, dot, head = name.partition(".")
    return (branch, head) if dot else (ONLINE, name)


def full_name(name: str) -> str:
    """The same with its branch, as "online.classifier"."""
    return ".".join(split(name))
