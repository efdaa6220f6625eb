"""What of a multi-view learner is worth compiling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imcswav.distributed import world_size
from imcswav.side_by_side import SideBySide, can_pass_aside
from imcswav.step import ONLINE, TEACHER

if TYPE_CHECKING:
    from imcswav.learners.multiview import MultiView


def compiled_parts(net: MultiView) -> dict[str, Callable[..., Any]]:
    """Crops, each branch and the losses that allow it, whose many small operations become a few; in training only.

    Of a network that goes in pieces the backbone is compiled; one with activation checkpointing stays as it is, for
    the compiler doesn't take its blocks.
    """
    parts: dict[str, Callable[..., Any]] = {"views": net.views}
    for branch in (ONLINE,) if net.teacher is None else (ONLINE, TEACHER):
        if branch == ONLINE and sizes_side_by_side(net):
            continue
        if net.config.in_one_piece():
            parts[branch] = net.outputs_of
        elif branch == TEACHER or not net.config.activation_checkpointing:
            parts[f"{branch}.backbone"] = net.network(branch)[0]
    banked = () if net.bank is None else net.bank.plan.losses  # of another number of images each time
    losses: Any = net.losses
    for number, loss in enumerate(losses):
        if number not in banked and loss.compilable():
            parts[f"losses.{number}"] = loss
    compiled: dict[str, Callable[..., Any]] = {name: _compile(part) for name, part in parts.items()}
    if sizes_side_by_side(net):
        compiled[ONLINE] = _size_by_size(net)
    return compiled


def sizes_side_by_side(net: MultiView) -> bool:
    """Whether a GPU has several sizes of crops of one network to work on at once, in one process."""
    several = net.config.in_one_piece() and len(net.config.views.groups()) > 1
    return several and world_size() == 1 and _on_gpu(net) and can_pass_aside(net.backbone)


def _on_gpu(net: MultiView) -> bool:
    return next(net.parameters()).is_cuda


def _size_by_size(net: MultiView) -> Callable[[list[Tensor], str], dict[str, Tensor]]:
    """As the learner's ``outputs_of``, the sizes of crops compiled apart and encoded side by side."""
    encode, score, side_by_side = _compile(net.encode), _compile(net.score), SideBySide(net.backbone)

    def outputs_of(crops: list[Tensor], branch: str) -> dict[str, Tensor]:
        assert branch == ONLINE  # a teacher sees one size
        rows: dict[str, Tensor] = score(torch.cat(side_by_side(encode, crops), 1))
        return rows

    return outputs_of


def _compile(part: Callable[..., Any]) -> Callable[..., Any]:
    compiled: Callable[..., Any] = torch.compile(part, dynamic=False)
    return compiled
