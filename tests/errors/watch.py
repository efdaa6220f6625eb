"""Time and memory of a piece of work, by the kernel's high-water mark of this process."""

import contextlib
import faulthandler
import time
from dataclasses import dataclass, field
from pathlib import Path

SECONDS, BYTES = 10, 2**30
"""Of the processors' time, since others may use them too, and of memory."""
WAITED, HUNG = 60, 120
"""Seconds by the clock that are too many, and after which the process is ended, since nothing else may stop it."""


@dataclass
class Watch:
    """The longest and the largest of many pieces of work, and what they were."""

    count: int = 0
    longest: float = 0.0
    most: int = 0
    slowest: object = field(default=None, repr=False)

    @contextlib.contextmanager
    def case(self, what, seconds=SECONDS):
        """One piece; raises AssertionError over 10 s or 1 GiB, or over a minute by the clock."""
        before = _reset()
        faulthandler.dump_traceback_later(HUNG, exit=True)
        began, used = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            waited, taken = time.monotonic() - began, time.process_time() - used
            faulthandler.cancel_dump_traceback_later()
            held = _peak() - before
            self.count += 1
            self.most = max(self.most, held)
            if taken > self.longest:
                self.longest, self.slowest = taken, what
        assert taken < seconds, f"{taken:.1f} s"
        assert waited < WAITED, f"{waited:.0f} s by the clock"
        assert held < BYTES, f"{held / 2**20:.0f} MiB"

    def __str__(self):
        return f"{self.count} cases, longest {self.longest:.2f} s, most memory {self.most / 2**20:.0f} MiB"


def _reset():
    """Set the high-water mark to what is held now, and give that; 0 where the system has none (not Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _peak()


def _peak():
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
