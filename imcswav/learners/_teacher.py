"""The teacher: a slowly following copy of the network, whose outputs losses may read as ``teacher.<head>``.

Its weights are an exponential moving average of the trained ones (Tarvainen & Valpola 2017, arXiv 1703.01780), its
momentum rising by a half cosine as in BYOL (Grill et al. 2020, arXiv 2006.07733).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Iterable

import torch
from pydantic import Field
from torch import Tensor, nn

from imcswav.component import Settings
from imcswav.learners import TrainingState
from imcswav.phases import phase_of
from imcswav.step import Progress


class TeacherSettings(Settings):
    """A moving average of the network that sees the first group of crops and has no gradient."""

    momentum: float = Field(0.996, ge=0, le=1)
    """Share of the teacher's weights that stays at a step, at the start of training."""
    final_momentum: float = Field(1.0, ge=0, le=1)
    """The same at the end; in between it follows half a cosine."""

    def at(self, progress: Progress) -> float:
        """The momentum of a step."""
        done = min(1.0, progress.step / max(1, progress.steps))
        return self.final_momentum - (self.final_momentum - self.momentum) * (math.cos(math.pi * done) + 1) / 2


class Teacher(TrainingState):
    """Copies of the backbone and of some heads; ``exported`` when the learner assigns by one of them."""

    def __init__(
        self, settings: TeacherSettings, backbone: nn.Module, heads: dict[str, nn.Module], *, exported: bool
    ) -> None:
        super().__init__()
        self.settings, self.exported = settings, exported
        self.backbone = copy.deepcopy(backbone)
        self.heads = nn.ModuleDict({name: copy.deepcopy(head) for name, head in heads.items()})
        self.requires_grad_(False)
        # a tensor, for a recorded step reads it anew; no state, for it follows from the progress
        self.register_buffer("rest", torch.zeros(()), persistent=False)
        self.rest: Tensor

    def prepare(self, progress: Progress) -> None:
        """Set the step's momentum, and hand the hook to the copies."""
        self.rest.fill_(1 - self.settings.at(progress))
        self._hook("prepare", progress)

    def before_step(self, progress: Progress) -> None:
        """Hand the hook to the copies; those that come after forward have to do with gradients."""
        self._hook("before_step", progress)

    def _hook(self, name: str, progress: Progress) -> None:
        for part in (self.backbone, *self.heads.values()):
            if hook := getattr(part, name, None):
                hook(progress)

    def phase(self, progress: Progress) -> Hashable:
        """What its parts make of the progress."""
        return tuple(phase_of(part, progress) for part in (self.backbone, *self.heads.values()))

    @torch.no_grad()
    def follow(self, backbone: nn.Module, heads: nn.ModuleDict) -> None:
        """teacher ← m · teacher + (1 − m) · online, for every parameter; batch-norm statistics are its own."""
        online = _parameters([backbone, *(heads[name] for name in self.heads)])
        own = _parameters([self.backbone, *self.heads.values()])
        moves = list(torch._foreach_sub(online, own))  # a few launches for all
        torch._foreach_mul_(moves, self.rest)
        torch._foreach_add_(own, moves)
        for name, head in self.heads.items():
            if "copy_losses" in dict(head.named_buffers()):  # the losses are taken on the online head's copies
                head.get_buffer("copy_losses").copy_(heads[name].get_buffer("copy_losses"))


def _parameters(modules: Iterable[nn.Module]) -> list[Tensor]:
    return [parameter for module in modules for parameter in module.parameters()]
