"""How far a long stage is, for whoever wants to know: silent, unless a command line shows it.

    with shown():
        with stage("Looking at files", total=len(paths)) as advance:
            for path in paths:
                ...
                advance()

It goes to standard error: a bar for each stage on a terminal, else a line when a stage is done.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress


class Advance(Protocol):
    """Says that ``count`` more of a stage is done; may be called from any thread."""

    def __call__(self, count: int = 1) -> None:
        """Add ``count``."""


_lock = threading.RLock()
_wanted = False
_bars: Progress | None = None
_open_stages = 0


@contextmanager
def shown() -> Iterator[None]:
    """Show the stages within, of all threads; once is enough, a second one within changes nothing."""
    global _wanted
    before, _wanted = _wanted, True
    try:
        yield
    finally:
        _wanted = before


@contextmanager
def stage(description: str, total: int | None = None) -> Iterator[Advance]:
    """A piece of work of ``total`` parts, None when their number isn't known; gives what counts them.

    Stages may follow one another or lie in one another.
    """
    if not _wanted:
        yield _ignore
    elif sys.stderr.isatty():
        with _bars_on_screen() as bars:
            task = bars.add_task(description, total=total)

            def advance(count: int = 1) -> None:
                bars.advance(task, count)  # has a lock of its own

            yield advance
    else:
        counter = _Counter()
        started = time.perf_counter()
        yield counter
        print(f"{description}: {counter}{time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)


def _ignore(count: int = 1) -> None:
    """Nobody looks."""


class _Counter:
    """What is done of a stage that only its end is told of."""

    def __init__(self) -> None:
        self.done, self.lock = 0, threading.Lock()

    def __call__(self, count: int = 1) -> None:
        with self.lock:
            self.done += count

    def __str__(self) -> str:
        return f"{self.done:,} in " if self.done else ""


@contextmanager
def _bars_on_screen() -> Iterator[Progress]:
    """The bars, on the screen as long as a stage is open: between stages the terminal belongs to others."""
    global _bars, _open_stages
    with _lock:
        if _bars is None:
            _bars = _new_bars()
            _bars.start()
        bars = _bars
        _open_stages += 1
    try:
        yield bars
    finally:
        with _lock:
            _open_stages -= 1
            if not _open_stages:
                _bars = None
                bars.stop()


def _new_bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    return Progress(*columns, console=Console(stderr=True))
