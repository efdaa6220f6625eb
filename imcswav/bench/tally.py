"""What is counted beside the loop: operators launched, and bytes saved for backward."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from imcswav.bench import loop
from imcswav.bench.counts import Counts, count, owned
from imcswav.bench.measure import count_pass
from imcswav.bench.reference import plain_network
from imcswav.bench.subject import EAGER, Subject, changed
from imcswav.data import Data
from imcswav.recipe import Recipe

SAVED_GOAL = 0.55
OPERATION_GOALS = {"pooled": 650, "per_view": 1000}
"""At most (docs/performance.md); tests hold them for recipes/imc_swav_cifar10.toml."""


@dataclass(frozen=True)
class Counted:
    """A figure that is counted: ``ours`` should be at most ``goal``."""

    name: str
    unit: str
    ours: float
    loop: float
    goal: float

    def table(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"ratio": self.ours / self.loop, "met": self.ours <= self.goal}


def counted(recipe: Recipe, data: Data, device: torch.device) -> list[dict[str, Any]]:
    """Operators and saved bytes of one forward and backward pass on ready crops, eager."""
    rows = []
    for batch_norm, goal in OPERATION_GOALS.items():
        subject = Subject(changed(recipe, EAGER | {"learner.batch_norm": batch_norm}), data, device)
        theirs = count_loop(subject)
        ours = count_pass(subject)
        label = "per view" if batch_norm == "per_view" else batch_norm
        rows.append(Counted(f"operators, batch norm {label}", "launched", ours.operations, theirs.operations, goal))
        if batch_norm == "per_view":
            rows.append(saved_an_image(subject))
    return [row.table() for row in rows]


def saved_an_image(subject: Subject) -> Counted:
    """Bytes that each further image of a batch keeps for backward: bf16, against the loop's float32.

    Differences of a batch and half of it, so that bf16 copies of the weights don't weigh in a small batch.
    """
    size = subject.batch_size
    half = size // 2
    ours = count_pass(subject, "bf16").saved - count_pass(subject, "bf16", half).saved
    theirs = count_loop(subject).saved - count_loop(subject, half).saved
    each = [round(saved / (size - half)) for saved in (ours, theirs)]
    return Counted("saved for backward", "bytes an image, bf16 against fp32", each[0], each[1], SAVED_GOAL * each[1])


def count_loop(subject: Subject, images: int | None = None) -> Counts:
    """Counts of the loop's forward and backward pass on (so many images of) a batch, crops being ready."""
    learner: Any = subject.learner
    network = plain_network(subject.recipe, learner)
    crops = learner.views(subject.batch.images[:images], subject.recipe.seed)
    return count(lambda: loop.step(network, crops)["loss"].backward(), owned(network, *crops))
