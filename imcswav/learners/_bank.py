"""The bank: outputs of some images, kept over steps until there are enough of them for a loss of their own.

IMC-SwAV on STL-10 (arXiv 2103.07368, released program) trains its encoder on 105,000 images and its classifier on
the 5,000 of the labelled split alone, of which a batch of 256 holds about twelve.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from imcswav.component import Settings
from imcswav.heads import Head, named_heads
from imcswav.learners import TrainingState
from imcswav.learners._heads import path
from imcswav.phases import NotRecordableError
from imcswav.step import Progress, Step


class BankSettings(Settings):
    """Losses taken on one subset of the images, several batches at a time; heads that only they read are run then."""

    subset: str = "labelled"
    """The data set's subset whose images are banked."""
    images: int = Field(256, ge=2)
    """As soon as so many are there, the losses are taken on them and the bank is emptied; so it is at each epoch's
    start."""
    losses: list[str] = Field(default=["imc"], min_length=1)
    """Names of the losses taken on banked images; all others are taken on every batch."""
    idle_steps: bool = True
    """Between two such losses the optimiser goes on moving their heads, by weight decay and its momentum, as torch did
    when the figures were published; false: they rest."""


@dataclass(frozen=True)
class Plan:
    """Which ``losses`` (by number) a bank takes, the heads ``run`` on what it holds, and the outputs it ``keeps``."""

    losses: tuple[int, ...]
    run: tuple[str, ...]
    keeps: tuple[str, ...]


def plan(settings: BankSettings, heads: Mapping[str, Head.Config], order: Iterable[str], losses: list[Any]) -> Plan:
    """Heads that only banked losses need are run on the bank; what else these read is kept as it was computed."""
    banked = tuple(number for number, loss in enumerate(losses) if loss.owner.name in settings.losses)
    own, others = set[str](), set[str]()
    for number, loss in enumerate(losses):
        (own if number in banked else others).update(*(path(heads, name) for name in named_heads(loss).values()))
    alone = own - others
    # heads that no loss reads, on top of those: without these they can't be run
    later = {name for name in heads if name not in own | others and alone & set(path(heads, name))}
    run = tuple(name for name in order if name in alone | later)
    read = {heads[name].input for name in run}.union(*(named_heads(losses[number]).values() for number in banked))
    return Plan(banked, run, tuple(sorted(read.difference(run))))


class Bank(TrainingState):
    """Holds fewer than ``images`` images' outputs (·, V, *shape); checkpoints have them, exported models don't."""

    def __init__(self, settings: BankSettings, chosen: Plan, shapes: Mapping[str, tuple[int, ...]], views: int) -> None:
        super().__init__()
        self.settings, self.plan = settings, chosen
        for name in chosen.keeps:
            self.register_buffer(f"kept_{name}", torch.zeros(settings.images - 1, views, *shapes[name]))
        self.register_buffer("counts", torch.zeros(2, dtype=torch.int64))  # images held, losses taken
        self.counts: Tensor
        self._counts: list[int] | None = None  # the same on the host, so that no step waits for the device

    def before_step(self, progress: Progress) -> None:
        """Empty it at each epoch's start."""
        if self._counts is None:
            self._counts = [int(count) for count in self.counts]
        if progress.step % max(1, progress.steps_per_epoch) == 0:
            self._count(0, self._counts[1])

    def phase(self, progress: Progress) -> Hashable:
        """Raises NotRecordableError."""
        raise NotRecordableError("a bank takes other numbers of images from step to step")

    @torch.no_grad()
    def add(self, step: Step, rows: Tensor) -> dict[str, Tensor] | None:
        """Keep what these rows of a batch gave; everything held, (M, V, D) by name, once there are enough."""
        assert self._counts is not None
        held, taken = self._counts
        new = {name: step[name][:, rows].transpose(0, 1) for name in self.plan.keeps}
        total = held + len(rows)
        if total >= self.settings.images:
            self._count(0, taken + 1)
            return {name: torch.cat([self._kept(name)[:held], new_bVD]) for name, new_bVD in new.items()}
        for name, new_bVD in new.items():
            self._kept(name)[held:total] = new_bVD
        self._count(total, taken)
        return None

    def idle(self, parameters: Iterable[nn.Parameter]) -> None:
        """After the first loss, zero gradients for those that have none, so that the optimiser still moves them."""
        assert self._counts is not None
        if self.settings.idle_steps and self._counts[1]:
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)

    def _kept(self, name: str) -> Tensor:
        return self.get_buffer(f"kept_{name}")

    def _count(self, held: int, taken: int) -> None:
        self._counts = [held, taken]
        self.counts[0].fill_(held)
        self.counts[1].fill_(taken)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._counts = None
