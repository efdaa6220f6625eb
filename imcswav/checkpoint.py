"""Checkpoints: everything that the next step depends on, written atomically and beside training, the last two kept."""

from __future__ import annotations

import copy
import threading
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from imcswav.errors import RunError
from imcswav.files import make_folder, write_atomically

KEPT = 2


class CheckpointWriter:
    """Writes checkpoints while training goes on: ``save`` copies the state to the host, a thread of its own writes it.

    At most one write is under way. What went wrong in it (OSError) is raised by the next ``save`` or ``wait``. The
    process can't end before the thread has: Python waits for it, also after Ctrl-C. As a context it waits at the end.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = folder, device
        self._write: _Write | None = None
        self._held: Any = None

    def save(self, state: dict[str, Any], step: int) -> None:
        """Take ``state`` as it is now; return as soon as training may change it again."""
        self.wait()
        held = to_host(state)
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)  # once for all copies
            # pinned memory is given back to CUDA by whoever drops it last, and that must not be the other thread
            self._held = held
        self._write = _Write(partial(save, self.folder, held, step))  # known before its thread is: see _Write
        self._write.thread.start()

    def wait(self) -> None:
        """Return when nothing is being written any more; a Ctrl-C meanwhile stops the waiting, not the write."""
        if self._write is None:
            return
        if not self._write.thread.is_alive():  # Ctrl-C came just before it was started, or it has ended
            self._write.run()
        try:
            self._write.outcome.result()
        finally:
            if self._write.outcome.done():
                self._write = self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.wait()
        except OSError as failed:
            if not isinstance(error, Exception):  # also in place of a Ctrl-C, which promises a checkpoint
                raise
            error.add_note(f"The last checkpoint could not be written either: {failed}")


class _Write:
    """One write and the thread that does it: a Ctrl-C can come at any moment, also while the thread is being made."""

    def __init__(self, write: Callable[[], Path]) -> None:
        self.outcome: Future[Path] = Future()
        self.thread = threading.Thread(target=self.run, name="checkpoint")
        self._write, self._claim = write, threading.Lock()

    def run(self) -> None:
        """Write, unless that was begun already."""
        if not self._claim.acquire(blocking=False):
            return
        try:
            self.outcome.set_result(self._write())
        except BaseException as error:  # told by ``outcome.result()``
            self.outcome.set_exception(error)


def to_host(value: Any) -> Any:
    """A copy of a state with all tensors on the CPU, in memory of their own; copies from a GPU may be under way."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", non_blocking=True, copy=True)
    if isinstance(value, dict):
        copied = copy.copy(value)  # a module's has attributes of its own
        copied.update({key: to_host(entry) for key, entry in value.items()})
        return copied
    return type(value)(to_host(entry) for entry in value) if isinstance(value, list | tuple) else value


def save(folder: Path, state: dict[str, Any], step: int) -> Path:
    """Write ``state`` as ``step-<n>.pt`` into ``folder`` and drop all but the newest two.

    Those of later steps go too: they couldn't be read when training went on from an earlier one.
    """
    make_folder(folder)  # but not a run folder that was deleted under the run
    path = folder / f"step-{step:09d}.pt"
    try:
        write_atomically(path, lambda temporary: torch.save(state, temporary))
    except RuntimeError as error:  # how torch's writer tells of a full disk
        raise OSError(None, str(error).splitlines()[0], str(path)) from error
    paths = saved(folder)
    own = paths.index(path) + 1
    for other in [*paths[: max(0, own - KEPT)], *paths[own:]]:
        other.unlink(missing_ok=True)
    return path


def saved(folder: Path) -> list[Path]:
    """All checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def load_latest(folder: Path) -> dict[str, Any]:
    """The newest checkpoint that can be read, with a warning for every newer one; raises RunError when there is none.

    Only tensors and plain values are accepted (``weights_only``): nothing in a checkpoint is executed.
    """
    reasons = []
    for path in reversed(saved(folder)):
        try:
            _verify(path)
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a torn file may raise anything; the one before may be whole
            reasons.append(f"{path.name}: {(str(error).splitlines() or [type(error).__name__])[0]}")
            continue
        if reasons:
            warnings.warn(f"Damaged, so {path.name} is taken instead: {'; '.join(reasons)}", stacklevel=2)
        return state
    detail = f" ({'; '.join(reasons)})" if reasons else ""
    raise RunError(f"{folder} has no checkpoint that can be read{detail}; start the run anew.")


def _verify(path: Path) -> None:
    """Raise OSError when a byte of the file has changed: torch stores check sums but doesn't look at them."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise OSError(f"{damaged.partition('/')[2]} is damaged")


def generators(device: torch.device) -> dict[str, torch.Tensor]:
    """States of torch's own random generators (dropout and the like draw from them)."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(*_which(device))
    return states


def restore_generators(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put the generators back; the state of a kind of device that isn't used now is ignored."""
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu" and device.type in states:
        torch.get_device_module(device).set_rng_state(states[device.type], *_which(device))


def _which(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []  # MPS has one generator and takes no device
