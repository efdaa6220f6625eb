"""Progress on the terminal."""

from __future__ import annotations

import sys
import time
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from imcswav.callbacks import Callback
from imcswav.plugins import hookimpl

if TYPE_CHECKING:
    from imcswav.trainer import Trainer

LINE_SECONDS = 5.0
"""Where no terminal is, at most one progress line in this time."""


class Console(Callback, name="console"):
    """A progress bar with losses, images/s and time left; plain lines when the output is no terminal."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self.started = self.printed = 0.0
        self.first_step = 0

    def start(self, trainer: Trainer) -> None:
        """Show the bar."""
        self.started, self.first_step = time.perf_counter(), trainer.step
        if sys.stderr.isatty():
            columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            self.bar = Progress(*columns, console=RichConsole(stderr=True), transient=True)
            self.task = self.bar.add_task("", total=trainer.steps, completed=trainer.step)
            self.bar.start()

    def log(self, trainer: Trainer, values: dict[str, float]) -> None:
        """Show the newest numbers, those that are for people."""
        if not _numbers(values):
            return
        scores = any(name.startswith("eval/") for name in values)  # of a finished epoch; losses are of one under way
        epoch = trainer.epoch if scores else min(trainer.epoch + 1, trainer.epochs)
        text = f"epoch {epoch}/{trainer.epochs}  {_numbers(values)}"
        elapsed = time.perf_counter() - self.started
        done = trainer.step - self.first_step
        if not scores and done and elapsed > 0:
            rate = done / elapsed
            text += f"  {rate * trainer.settings.batch_size:.0f} images/s"
            if self.bar is None:
                text += f"  {_clock((trainer.steps - trainer.step) / rate)} left"
        if self.bar is not None:
            if scores:
                self.bar.console.print(text, highlight=False)
            else:
                self.bar.update(self.task, completed=trainer.step, description=text)
        elif scores or time.perf_counter() - self.printed >= LINE_SECONDS or trainer.step == trainer.steps:
            self.printed = time.perf_counter()
            print(text, file=sys.stderr, flush=True)

    def note(self, trainer: Trainer, text: str) -> None:
        """Show it, above the bar."""
        if self.bar is not None:
            self.bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def interrupt(self, trainer: Trainer) -> None:
        """Say how to go on."""
        self.close(trainer)
        print(
            f"Stopped after step {trainer.step}; go on with: imcswav resume {quote(str(trainer.run.path))}",
            file=sys.stderr,
        )

    def close(self, trainer: Trainer) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()


def _numbers(values: dict[str, float]) -> str:
    shown = {name: value for name, value in values.items() if name == "loss" or name.startswith(("loss/", "eval/"))}
    return "  ".join(f"{name.split('/')[-1]} {value:.4g}" for name, value in shown.items())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Console]
