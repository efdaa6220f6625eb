"""Time as a device has it: events on CUDA, seconds of the process's own CPU time elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

ONE_THREAD = 1
MATRIX = {"cuda": 8192, "cpu": 1024}
"""Side of the square matrices whose product measures what the device can do."""


@contextmanager
def fair_threads(device: torch.device) -> Iterator[None]:
    """On the CPU one thread within, so that CPU seconds are seconds of work and ratios don't hang on neighbours."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(ONE_THREAD)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Clock:
    """Measures work on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.unit = "device time" if device.type == "cuda" else "CPU time, one thread"

    def wait(self) -> None:
        """Until the device has done everything it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def stamp(self) -> Any:
        """A moment, to be handed to ``between``."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event
        if self.device.type == "cpu":
            return time.process_time()
        self.wait()
        return time.perf_counter()

    def between(self, start: Any, end: Any) -> float:
        """Seconds from one moment to another; call ``wait`` first."""
        return float(start.elapsed_time(end) / 1000 if self.device.type == "cuda" else end - start)

    def seconds(self, work: Callable[[], Any], repeats: int = 1) -> float:
        """Seconds that one call takes, mean of ``repeats``."""
        self.wait()
        start = self.stamp()
        for _ in range(repeats):
            work()
        end = self.stamp()
        self.wait()
        return self.between(start, end) / repeats


def wall_seconds(clock: Clock, work: Callable[[], Any]) -> float:
    """Seconds on the wall until the device is done."""
    clock.wait()
    start = time.perf_counter()
    work()
    clock.wait()
    return time.perf_counter() - start


def matrix_rate(clock: Clock, dtype: torch.dtype, rounds: int = 5) -> float:
    """Operations a second of a square matrix product in this process, the best of several.

    A yardstick, no limit: on some CPUs convolutions come from a faster library than matrix products.
    """
    side = MATRIX.get(clock.device.type, 2048)
    a = torch.randn(side, side, device=clock.device).to(dtype)
    a @ a
    repeats = 20 if clock.device.type == "cuda" else 1
    return 2 * side**3 / min(clock.seconds(lambda: a @ a, repeats) for _ in range(rounds))
