"""``--against loop``: the same work done plainly, alternated in one process; ratios of each round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from imcswav.bench import loop
from imcswav.bench.clock import Clock
from imcswav.bench.equal import loop_loss
from imcswav.bench.reference import loss_outputs, step_of
from imcswav.bench.subject import Subject
from imcswav.errors import ImcswavError

PICTURES = 32
"""Images that the loop augments a round: it is slow, and every image costs the same."""
REPEATS = {"cuda": 20, "cpu": 2}
COMPILED = ", compiled"
GOALS = {"augmentation": 9.0, "augmentation, compiled": 15.0, "mutual information": 3.0, "swapped prediction": 1.7}
"""Least ratio loop / ours, on the CPU (docs/performance.md)."""


@dataclass
class Contest:
    """The same work twice; both give seconds for one ``unit`` of it, and are called once a round."""

    name: str
    unit: str
    ours: Callable[[], float]
    loop: Callable[[], float]
    goal: float | None = None
    rounds: list[tuple[float, float]] = field(default_factory=list)

    def play(self, ours_first: bool) -> None:
        """One round."""
        sides = [self.ours, self.loop]
        first, second = [side() for side in (sides if ours_first else reversed(sides))]
        self.rounds.append((first, second) if ours_first else (second, first))

    def table(self) -> dict[str, Any]:
        """For JSON: seconds are medians, ``ratios`` loop / ours of each round."""
        ratios = [theirs / ours for ours, theirs in self.rounds]
        median = statistics.median(ratios)
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": statistics.median(ours for ours, _ in self.rounds),
            "loop": statistics.median(theirs for _, theirs in self.rounds),
            "ratios": ratios,
            "ratio": median,
            "goal": self.goal,
            "met": None if self.goal is None else median >= self.goal,
        }


def alternate(contests: Iterable[Contest], rounds: int) -> list[dict[str, Any]]:
    """Play all contests so many rounds, the order of the two sides changing; a first round is thrown away."""
    contests = list(contests)
    for number in range(-1, rounds):
        for contest in contests:
            contest.play(number % 2 == 0)
    for contest in contests:
        del contest.rounds[0]
    return [contest.table() for contest in contests]


def augmentation(subject: Subject, compiled: bool) -> Contest:
    """Making the crops of one image, both on the CPU and in its seconds."""
    views: Any = subject.learner.views
    images, clock = subject.batch.images.cpu(), Clock(torch.device("cpu"))
    seed = torch.tensor(subject.recipe.seed)  # as a number it would be compiled in
    make = _compiled(views, "the crops", images, seed) if compiled else views
    plain = loop.Augmentation(views.config, tuple(views.mean), tuple(views.std))
    pictures = loop.pictures(images[:PICTURES])
    name = f"augmentation{COMPILED if compiled else ''}"
    return Contest(
        name,
        "an image, CPU",
        lambda: clock.seconds(lambda: make(images, seed), 2) / len(images),
        lambda: clock.seconds(lambda: [plain(picture) for picture in pictures]) / len(pictures),
        GOALS[name],
    )


def _compiled(part: Any, what: str, *arguments: Any) -> Any:
    fast: Any = torch.compile(part, dynamic=False)
    try:
        fast(*arguments)
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ImcswavError(f"torch.compile can't compile {what} here ({reason}); leave out --compile.") from error
    return fast


def losses(subject: Subject, compiled: bool) -> list[Contest]:
    """Each loss forward and backward at the recipe's batch, float32, on ready outputs; compiled too if asked."""
    clock, names = Clock(subject.device), {"swav": "swapped prediction", "imc": "mutual information"}
    outputs, global_views = loss_outputs(subject)
    joint = {name: value.clone().requires_grad_() for name, value in outputs.items()}
    apart = {name: [row.clone().requires_grad_() for row in value] for name, value in outputs.items()}
    repeats = REPEATS.get(subject.device.type, 1)

    def contest(loss: Any, compiled: bool) -> Contest:
        name = names[loss.name] + (COMPILED if compiled else "")
        fast = _compiled(loss, f"the {names[loss.name]}", step_of(joint, global_views)) if compiled else loss

        def ours() -> None:
            _clear(joint.values())
            fast(step_of(joint, global_views)).backward()

        def theirs() -> None:
            _clear(row for rows in apart.values() for row in rows)
            loop_loss(loss, apart, global_views).backward()

        unit = f"forward and backward, {subject.batch_size} images"
        return Contest(
            name, unit, lambda: clock.seconds(ours, repeats), lambda: clock.seconds(theirs, repeats),
            GOALS.get(name) if subject.device.type == "cpu" else None,
        )  # fmt: skip

    losses: Any = subject.learner.losses
    ways = [(loss, way) for loss in losses for way in (False, True)]
    return [contest(loss, way) for loss, way in ways if not way or (compiled and loss.compilable())]


def _clear(tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        tensor.grad = None
