"""Where the time of a step goes: an eager step, cut at the seams of the learner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from imcswav.bench.clock import Clock
from imcswav.bench.subject import Subject

SEAMS = ("views", "backbone", "heads", "losses")
"""What a learner must have for its forward pass to be cut."""


class Spans:
    """Stretches of time by name, added up."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._found: list[tuple[str, Any, Any]] = []

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """What is done within counts for ``name``."""
        start = self.clock.stamp()
        yield
        self._found.append((name, start, self.clock.stamp()))

    def seconds(self) -> dict[str, float]:
        """Seconds by name."""
        self.clock.wait()
        sums: dict[str, float] = {}
        for name, start, end in self._found:
            sums[name] = sums.get(name, 0.0) + self.clock.between(start, end)
        return sums


def shares(subject: Subject, clock: Clock, steps: int) -> dict[str, float]:
    """Seconds a step of augmentation, encoder forward, heads and losses, backward and optimiser, eagerly.

    A learner without the multi-view learner's seams has one figure for its forward pass.
    """
    spans = Spans(clock)
    learner, optimizer = subject.learner, subject.engine.optimizer
    cut = all(hasattr(learner, seam) for seam in SEAMS)
    for _ in range(steps):
        with _cutting(learner, spans, cut), spans.span("forward"):
            scalars = subject.forward()
        with spans.span("backward"):
            scalars["loss"].backward()
        with spans.span("optimiser"):
            learner.before_update(subject.progress)
            optimizer.step()
            learner.after_step(subject.progress)
    found = {name: value / steps for name, value in spans.seconds().items()}
    if cut:
        rest = found.pop("forward") - found["augmentation"] - found["encoder forward"]
        found = {
            "augmentation": found["augmentation"],
            "encoder forward": found["encoder forward"],
            "heads and losses": rest,
            **{name: found[name] for name in ("backward", "optimiser")},
        }
    return found


@contextmanager
def _cutting(learner: Any, spans: Spans, cut: bool) -> Iterator[None]:
    """Within, the making of crops and the backbones' forward passes leave spans."""
    if not cut:
        yield
        return
    views, teacher = learner.views, getattr(learner, "teacher", None)
    backbones = [learner.backbone, *([] if teacher is None else [teacher.backbone])]
    open_spans: list[Any] = []

    def make(*arguments: Any) -> Any:
        with spans.span("augmentation"):
            return views(*arguments)

    def begin(module: nn.Module, inputs: Any) -> None:
        span = spans.span("encoder forward")
        span.__enter__()
        open_spans.append(span)

    def end(module: nn.Module, inputs: Any, outputs: Any) -> None:
        open_spans.pop().__exit__(None, None, None)

    hooks = [one.register_forward_pre_hook(begin) for one in backbones]
    hooks += [one.register_forward_hook(end) for one in backbones]
    learner.views = make
    try:
        yield
    finally:
        learner.views = views
        for hook in hooks:
            hook.remove()
