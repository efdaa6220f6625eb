"""Checkpoints: everything that the next step depends on, written atomically, the last two kept."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from imcswav.errors import RunError
from imcswav.files import write_atomically

KEPT = 2


def save(folder: Path, state: dict[str, Any], step: int) -> Path:
    """Write ``state`` as ``step-<n>.pt`` into ``folder`` and drop all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:09d}.pt"
    try:
        write_atomically(path, lambda temporary: torch.save(state, temporary))
    except RuntimeError as error:  # how torch's writer tells of a full disk
        raise OSError(None, str(error).splitlines()[0], str(path)) from error
    for old in saved(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def saved(folder: Path) -> list[Path]:
    """All checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def load_latest(folder: Path) -> dict[str, Any]:
    """The newest checkpoint that can be read; raises RunError when there is none.

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
        return state
    detail = f" ({'; '.join(reasons)})" if reasons else ""
    raise RunError(f"{folder} has no checkpoint that can be read{detail}; start the run anew.")


def _verify(path: Path) -> None:
    """Raise OSError when a byte of the file has changed: torch stores check sums but doesn't look at them."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise OSError(f"{damaged} is damaged")


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
