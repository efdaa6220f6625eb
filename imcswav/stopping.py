"""Stopping on a signal: Ctrl-C, SIGTERM, and SIGUSR1, by which SLURM tells of the end of its time (``--signal``)."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from imcswav.launch import launched

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143} | ({signal.SIGUSR1: 143} if hasattr(signal, "SIGUSR1") else {})
"""Exit code by signal."""


class Terminated(SystemExit):
    """SIGTERM or SIGUSR1 came; the process leaves with 143 unless somebody catches it."""

    def __init__(self) -> None:
        super().__init__(CODES[signal.SIGTERM])


class Stopping:
    """Whether somebody asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.asked: int | None = None

    def error(self) -> BaseException:
        """What ends the program as the signal wants it."""
        return KeyboardInterrupt() if self.asked == signal.SIGINT else Terminated()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note the first signal for whoever looks at ``asked``; a Ctrl-C after it stops at once.

        A second SIGTERM is not more than the first: SLURM may deliver one several times. But a launcher of several
        processes, which passes the first Ctrl-C on, makes a SIGTERM of the second.
        """

        def ask(number: int, frame: FrameType | None) -> None:
            passed_on = launched() > 1 and self.asked == signal.SIGINT
            if self.asked is not None and (number == signal.SIGINT or passed_on):
                raise KeyboardInterrupt
            self.asked = self.asked or number

        with _handled(CODES, ask):
            yield


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """SIGTERM and SIGUSR1 raise Terminated wherever the program is, so that it cleans up as after Ctrl-C."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    with _handled([number for number in CODES if number != signal.SIGINT], stop):
        yield


@contextlib.contextmanager
def _handled(numbers: Any, handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle signals while the context lasts; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
