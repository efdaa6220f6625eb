"""Episodes: few-shot tasks drawn from images whose classes are known to whoever scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imcswav.clusterers import Array
from imcswav.errors import DataError
from imcswav.seeding import mix


@dataclass(frozen=True)
class Episodes:
    """E tasks of ``ways`` classes: ``ways * shots`` support images, then ``ways * queries`` query images."""

    rows_EN: Tensor
    """int64: rows of the features."""
    labels_EN: Tensor
    """int64: 0 … ways − 1."""
    ways: int
    shots: int

    @property
    def support(self) -> int:
        """Number of support images of a task; they come first."""
        return self.ways * self.shots

    @property
    def known_EN(self) -> Tensor:
        """What a method is told: labels of the support, −1 for queries."""
        return torch.where(torch.arange(self.rows_EN.shape[1]) < self.support, self.labels_EN, -1)


def draw_episodes(
    labels_N: Array,
    classes: Sequence[int],
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int = 200,
    seed: int = 0,
) -> Episodes:
    """Each task: ``ways`` of the classes, in any order, and of each ``shots + queries`` images, none twice.

    Raises DataError where there are too few classes, or images of one.
    """
    if not 2 <= ways <= len(classes):
        raise DataError(f"Tasks of {ways} classes can't be drawn from {len(classes)}; set ways from 2 to that.")
    if min(shots, queries, episodes) < 1:
        raise DataError("Shots, queries and episodes must be 1 or more.")
    members = {name: torch.from_numpy(np.flatnonzero(labels_N == name)) for name in classes}
    short = {name: len(rows) for name, rows in members.items() if len(rows) < shots + queries}
    if short:
        name, count = next(iter(short.items()))
        raise DataError(
            f"Class {name} has {count} images, and a task takes {shots} + {queries}; leave it out or set fewer queries."
        )
    generator = torch.Generator().manual_seed(mix(seed, shots))
    rows_EWI = torch.stack([_draw(members, ways, shots + queries, generator) for _ in range(episodes)])
    labels_EWI = torch.arange(ways).view(1, -1, 1).expand_as(rows_EWI)
    parts = [
        x_EWI[..., part].flatten(1) for part in (slice(shots), slice(shots, None)) for x_EWI in (rows_EWI, labels_EWI)
    ]
    return Episodes(torch.cat(parts[::2], 1), torch.cat(parts[1::2], 1), ways, shots)


def _draw(members: dict[int, Tensor], ways: int, images: int, generator: torch.Generator) -> Tensor:
    """Rows (W, images) of one task."""
    names = list(members)
    picked = [members[names[i]] for i in torch.randperm(len(names), generator=generator)[:ways].tolist()]
    return torch.stack([rows[torch.randperm(len(rows), generator=generator)[:images]] for rows in picked])
