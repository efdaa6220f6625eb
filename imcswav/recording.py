"""Recordings: a whole training step as one CUDA graph, replayed on new images.

A graph repeats the same kernels on the same memory. So the batch is copied into fixed tensors, and whatever else
changes from step to step (seed, learning rate) is a tensor that the caller fills.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import torch
from torch import Tensor

from imcswav.data import Batch
from imcswav.phases import HiddenSubsets, NotRecordableError

EAGER_STEPS = 3
"""Steps of a phase that run eagerly first: optimiser state, library handles and compiled code come into being."""

Outputs = dict[str, Tensor]


class Recorder(Protocol):
    """Runs steps, and records one."""

    def eagerly(self, function: Callable[[], Outputs]) -> Outputs:
        """Run a step now."""

    def record(self, function: Callable[[], Outputs]) -> Callable[[], Outputs]:
        """What replays the step; nothing is computed yet. Raises NotRecordableError."""


class Cuda:
    """CUDA graphs. All steps, eager ones too, run on one side stream: a graph can't be recorded on the default one."""

    def __init__(self, device: torch.device) -> None:
        self.stream: Any = torch.cuda.Stream(device)

    def eagerly(self, function: Callable[[], Outputs]) -> Outputs:
        """Run a step on the side stream; the default stream waits for it, the host doesn't."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            outputs = function()
        current.wait_stream(self.stream)
        for value in outputs.values():
            value.record_stream(current)
        return outputs

    def record(self, function: Callable[[], Outputs]) -> Callable[[], Outputs]:
        """A graph of the step; raises NotRecordableError with CUDA's own words."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                outputs = function()
        except RuntimeError as error:
            torch.cuda.synchronize(self.stream.device)
            raise NotRecordableError(f"CUDA can't record it ({str(error).splitlines()[0]})") from error

        def replay() -> Outputs:
            graph.replay()
            return outputs

        return replay


class Recording:
    """The steps of one phase on batches of one shape."""

    def __init__(self, recorder: Recorder, phase: Hashable, batch: Batch) -> None:
        self.phase = phase
        self._recorder, self._shapes = recorder, _shapes(batch)
        self._eager = 0
        self._batch: Batch | None = None
        self._replay: Callable[[], Outputs] | None = None

    def fits(self, phase: Hashable, batch: Batch) -> bool:
        """Whether a step of this phase on this batch can be replayed."""
        return phase == self.phase and _shapes(batch) == self._shapes

    def step(self, batch: Batch, run: Callable[[Batch], Outputs], record: Callable[[Batch], Outputs]) -> Outputs:
        """Run the step eagerly, or record it, or replay it; raises NotRecordableError."""
        if self._eager < EAGER_STEPS:
            self._eager += 1
            return self._recorder.eagerly(lambda: run(batch))
        if self._batch is None or self._replay is None:
            own: dict[str, Any] = {name: value.clone() for name, value in _tensors(batch).items()}
            hidden: dict[str, Any] = {"subsets": HiddenSubsets()} if hasattr(batch, "subsets") else {}
            fixed = self._batch = dataclasses.replace(batch, **own, **hidden)
            self._replay = self._recorder.record(lambda: record(fixed))
        own = _tensors(self._batch)
        for name, value in _tensors(batch).items():
            own[name].copy_(value, non_blocking=True)
        return self._replay()


def _tensors(batch: Batch) -> dict[str, Tensor]:
    """The fields of a batch but its subsets; raises NotRecordableError when one is no tensor."""
    names = [field.name for field in dataclasses.fields(batch) if field.name != "subsets"]
    fields = {name: getattr(batch, name) for name in names}
    for name, value in fields.items():
        if not isinstance(value, Tensor):
            raise NotRecordableError(f"the batch's {name} is no tensor")
    return fields


def _shapes(batch: Batch) -> Hashable:
    return tuple((name, value.shape, value.dtype) for name, value in _tensors(batch).items())
