"""2,000 epochs leave memory, file handles and an epoch's work as they were; run with -m slow -s to see the figures."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

CASE = Path(__file__).with_name("soak_case.py")
EPOCHS, WARM = 2000, 500
MEGABYTES = 5
"""By which the memory of 1,000 epochs may grow."""
READ = 5000
"""Bytes that ten of the last epochs may read more than ten of the first: in between the log has grown by a megabyte."""
CALLS = 20
"""Of some 17,000 in an epoch: what Python itself does in between isn't the same in each."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc"),
]


def soaked(kind, folder):
    here = {
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(CASE.parents[2]), "MPLBACKEND": "Agg"
    }  # fmt: skip
    words = [sys.executable, CASE, kind, folder, str(EPOCHS)]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | here, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def slope(xs, ys):
    """Of the straight line with the least squares."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = below = 0.0
    for x, y in zip(xs, ys, strict=True):
        above += (x - mean_x) * (y - mean_y)
        below += (x - mean_x) ** 2
    return above / below


def test_the_slope():
    assert slope([0, 1, 2, 4], [1, 3, 5, 9]) == pytest.approx(2)
    assert slope([0, 1, 2], [1, 0, 1]) == 0


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_two_thousand_epochs_leave_memory_handles_and_work_as_they_were(kind, tmp_path):
    found = soaked(kind, tmp_path)
    samples = [one for one in found["samples"] if one["epoch"] >= WARM]
    epochs = [one["epoch"] for one in samples]
    assert epochs[-1] == EPOCHS
    grown = slope(epochs, [one["resident"] / 1e6 for one in samples]) * 1000
    read = [after["read"] - before["read"] for before, after in pairwise(samples)]
    cpu = [after["cpu_seconds"] - before["cpu_seconds"] for before, after in pairwise(samples)]
    calls = list(found["calls"].values())
    first, last = median(calls[:20]), median(calls[-20:])
    said = {
        "megabytes per 1,000 epochs": round(grown, 2),
        "megabytes": round(samples[-1]["resident"] / 1e6),
        "handles": sorted({one["handles"] for one in samples}),
        "threads": sorted({one["threads"] for one in samples}),
        "calls in an epoch, first and last": (first, last),
        "bytes read in ten epochs, first and last": (median(read[:20]), median(read[-20:])),
        "CPU seconds in ten epochs, first and last": (round(median(cpu[:20]), 3), round(median(cpu[-20:]), 3)),
        "bytes of metrics.jsonl a row": round(found["written"]["metrics.jsonl"] / found["rows"]),
        "bytes of TensorBoard a row": round(log_size(found["written"]) / found["rows"]),
    }
    print(kind, json.dumps(said))
    assert grown < MEGABYTES, said
    for counted in ("handles", "threads", "checkpoints", "files"):
        assert len(set(floors([one[counted] for one in samples]))) == 1, (counted, said)
    assert samples[-1]["checkpoints"] == 2
    assert abs(last - first) <= CALLS, said
    assert median(read[-20:]) - median(read[:20]) < READ, said  # a log that is read as a whole takes longer and longer
    assert found["written"]["metrics.jsonl"] + log_size(found["written"]) < 1000 * found["rows"], said


def floors(values):
    """The least of every ten: another thread may have a file open for a moment, as TensorBoard's does."""
    return [min(values[first : first + 10]) for first in range(0, len(values) - 9, 10)]


def log_size(written):
    """Bytes of TensorBoard's file."""
    (size,) = [size for name, size in written.items() if name.startswith("tensorboard")]
    return size
