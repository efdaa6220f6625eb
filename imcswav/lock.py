"""The lock of a run folder: a file with the process that works in it, so that two never share one.

A lock of a process that is no more (kill -9, a power cut) is taken over, with a warning. Whether a process of another
host lives can't be known from here, so its lock has to be removed by hand. Imports no torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imcswav.errors import RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FILE = "run.lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes, and other threads of this one, out of a run folder.

    The innermost of nested locks of one thread lets go. Raises RunError when somebody else works there, or when the
    folder can't be written.
    """
    path = folder / FILE
    try:
        with _one_at_a_time(folder):
            _take(path)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"The run folder {folder} can't be written: {reason}; make it writable.") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a folder that is gone or can't be written any more
            if _read(path) == _me():
                path.unlink()


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """While a lock is looked at and taken over: else a second one might remove what a first has just made."""
    handle = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if fcntl and handle is not None:
            with contextlib.suppress(OSError):  # a file system that can't
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _take(path: Path) -> None:
    for _ in range(2):  # once more when a dead process's was removed
        try:
            return _create(path, json.dumps(_me()) + "\n")
        except FileExistsError:
            owner = _read(path)
        if owner == _me():
            return None
        if owner is not None and _works(owner):
            raise RunError(_refusal(path, owner))
        if owner:
            warnings.warn(f"Process {owner['pid']}, which worked in {path.parent}, is gone: taken over.", stacklevel=5)
        path.unlink(missing_ok=True)
    raise RunError(f"Another process has just begun to work in {path.parent}; wait for it, or take another folder.")


def remove_leftovers(folder: Path) -> None:
    """Remove what ``write_atomically`` left half written in a folder when its process was killed."""
    for temporary in folder.glob(".*.tmp"):
        pid = temporary.name.split(".")[-2]
        if not pid.isdecimal() or int(pid) == os.getpid() or not _alive(int(pid)):
            temporary.unlink(missing_ok=True)


def _create(path: Path, text: str) -> None:
    """Make the file with its content at once, so that a crash leaves no half a lock; FileExistsError if it is there."""
    temporary = path.with_name(f".{path.name}.{threading.get_ident()}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """Who holds the lock; None where there is none, {} for what no run wrote whole."""
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) and owner.keys() >= _me().keys() else {}


def _me() -> dict[str, Any]:
    pid = os.getpid()
    return {"pid": pid, "host": platform.node(), "started": _started(pid), "thread": threading.get_ident()}


def _works(owner: dict[str, Any]) -> bool:
    """Whether the owner may still be at work; numbers of processes are given anew, so the time of its start counts."""
    if not owner:
        return False
    if owner["host"] != platform.node():
        return True
    return _alive(owner["pid"]) and _started(owner["pid"]) == owner["started"]


def _alive(pid: int) -> bool:
    if os.name == "nt":  # a signal 0 would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _started(pid: int) -> str:
    """When a process started, in the kernel's words; "" where the system doesn't tell. A zombie is no process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _refusal(path: Path, owner: dict[str, Any]) -> str:
    who = f"process {owner['pid']} on {owner['host']}"
    if owner["host"] == platform.node():
        return f"The run folder {path.parent} is in use by {who}; wait for it, or take another folder."
    return f"The run folder {path.parent} is in use by {who}; if that process is no more, remove {path} and try again."
