"""Files that a user named: what came to lie there while they were made is not overwritten."""

from pathlib import Path

import pytest

from imcswav.bench.plot import plot_growth
from imcswav.errors import RunError
from imcswav.quality import inspect_files
from imcswav.quality.report import write_findings
from imcswav.results.plots import plot_compared, plot_points

GROWTH = {"images": [{"value": 8, "seconds": 0.1, "memory": 1}, {"value": 16, "seconds": 0.2, "memory": 2}]}
WRITERS = {
    "compare": lambda path: plot_compared(path, {}),
    "gather": lambda path: plot_points(path, {"acc": {"a": [(0.5, 0.5)]}}, "ACC"),
    "bench": lambda path: plot_growth(path, GROWTH),
    "inspect": lambda path: write_findings(path, inspect_files([], Path()), new=True),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_was_made_meanwhile_stays(kind, tmp_path):
    path = tmp_path / "mine"
    WRITERS[kind](path)
    assert path.stat().st_size
    path.write_text("somebody's")
    with pytest.raises(RunError, match="mine was made by somebody else meanwhile and is not overwritten"):
        WRITERS[kind](path)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("mine", "somebody's")]
