"""Phases of training: stretches in which all steps do the same, so that one recording serves them all."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from imcswav.step import Progress

HOOKS = ("before_step", "before_update", "after_step")


class NotRecordableError(Exception):
    """A training step that can't be replayed from a recording; says which part and why, as half a sentence."""


def phase_of(part: Any, progress: Progress) -> Hashable:
    """What the hooks of a part make of the progress: two steps with equal answers do the same.

    A part with hooks tells by ``phase(progress)``. Raises NotRecordableError for a part with hooks that doesn't.
    """
    if (own := getattr(part, "phase", None)) is not None:
        phase: Hashable = own(progress)
        return phase
    if hooks := [name for name in HOOKS if hasattr(part, name)]:
        raise NotRecordableError(
            f"{type(part).kind} '{type(part).name}' has the hook {hooks[0]} and no phase(progress) that tells when it "
            f"changes what it does"
        )
    return None


class HiddenProgress(Progress):
    """What forward gets while a step is recorded: reading it would freeze one step's numbers into all."""

    def __init__(self) -> None:
        """Nothing is known."""

    def __getattribute__(self, name: str) -> Any:
        """Raises NotRecordableError for the numbers."""
        if name in Progress.__dataclass_fields__:
            raise NotRecordableError(f"the forward pass reads progress.{name}, which changes from step to step")
        return super().__getattribute__(name)


class HiddenSubsets(Mapping[str, Any]):
    """What a batch has for its subsets while a step is recorded: their sizes change from step to step."""

    def __getitem__(self, name: str) -> Any:
        """Raises NotRecordableError, as does everything else."""
        raise NotRecordableError("the forward pass reads batch.subsets, whose sizes change from step to step")

    def __iter__(self) -> Iterator[str]:
        return iter(self[""])

    def __len__(self) -> int:
        return len(self[""])
