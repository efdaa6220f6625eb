"""Every error that imcswav raises on purpose.

ImcswavError            base; its text is one sentence: what was wrong, where, and what to do
├── RecipeError         a recipe can't be read or run; carries every problem found, not just the first; a ValueError too
├── PluginError         a component or a plugin package breaks the contract
├── WeightsError        pretrained weights can't be had
├── DataError           images are missing, unreadable or don't fit; a ValueError too
├── DeviceError         a device isn't there or can't be used; a ValueError too
└── RunError            a run folder is missing or incomplete; a checkpoint doesn't fit

The command line turns any of them into exit code 2 without a traceback, and so it does where memory runs out or the
disk refuses; anything else is a defect of ours.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any, Literal


class ImcswavError(Exception):
    """Base of all errors a user can cause and mend."""


class PluginError(ImcswavError):
    """A component or a plugin package breaks the contract."""


class WeightsError(ImcswavError):
    """Pretrained weights can't be had: no network, and no copy on this machine. ``source`` says where they are."""

    def __init__(self, text: str, source: str = "") -> None:
        self.source = source
        super().__init__(text)


class DataError(ImcswavError, ValueError):
    """Images are missing, unreadable or do not fit the recipe."""


class DeviceError(ImcswavError, ValueError):
    """A device isn't there, or can't be used as asked."""


class RunError(ImcswavError):
    """A run folder is missing or incomplete, or a checkpoint does not fit."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a recipe.

    ``path`` is the dotted place (``losses.0.temperature``), ``message`` says what was wrong, ``remedy`` what
    to do; ``value`` is what was received. ``where`` (file and line) is filled in by the recipe loader.
    """

    path: str
    message: str
    remedy: str = ""
    value: Any = None
    severity: Literal["error", "warning"] = "error"
    where: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        path = f"{self.path}: " if self.path else ""
        return f"{place}{path}{self.message}{remedy}"


class RecipeError(ImcswavError, ValueError):
    """A recipe has problems; ``problems`` lists all of them.

    A single problem of the file as a whole (an empty ``path``) makes a one-line text.
    """

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        if len(problems) == 1 and not problems[0].path:
            super().__init__(str(problems[0]) if problems[0].where else f"{source}: {problems[0]}")
            return
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in problems)]))


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG}
"""Said of a file where the error names one; of other things, such as sockets, too."""


def disk_refused(error: BaseException) -> str:
    """A sentence where a file can't be read or written for what the user or the disk allows; else ""."""
    if not isinstance(error, OSError) or error.errno not in (FULL | _REFUSED if error.filename else FULL):
        return ""
    place = error.filename or "A file"
    return f"{place} can't be read or written: {error.strerror}; make room, allow it, or give another place."


_NO_MEMORY = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")
"""What torch says in a RuntimeError when main memory runs out."""


def short_of_memory(error: BaseException) -> str:
    """A sentence where an error says that memory ran out, the device's or the machine's; else "". Imports no torch."""
    said = " ".join(str(error).split()).rpartition("DefaultCPUAllocator: ")[2].rstrip(".")
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not known and not (isinstance(error, RuntimeError) and any(sign in said for sign in _NO_MEMORY)):
        return ""
    reason = f" ({said[:200]})" if said else ""
    return (
        f"There is not enough memory{reason}; take a smaller trainer.batch_size, set learner.micro_batch, or use fewer "
        f"or smaller images, crops and networks."
    )
