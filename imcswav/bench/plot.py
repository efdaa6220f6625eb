"""Growth of a step's time and memory as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imcswav.files import write_atomically


def plot_growth(path: Path, growth: dict[str, list[dict[str, Any]]]) -> None:
    """A PNG with a panel for each thing that grows: ms (solid) and MiB (dashed) of a step, both from 0.

    What grows has a logarithmic axis. Points that failed are left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(growth), 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (name, points) in zip(figure.subplots(1, len(growth), squeeze=False)[0], growth.items(), strict=True):
        good = [point for point in points if "failed" not in point]
        values = [point["value"] for point in good]
        beside = panel.twinx()
        panel.plot(values, [1000 * point["seconds"] for point in good], "o-", color="C0")
        kept = [point for point in good if point["memory"]]
        beside.plot([p["value"] for p in kept], [p["memory"] / 2**20 for p in kept], "s--", color="C1")
        panel.set(title=name, ylabel="ms a step (solid)", ylim=(0, None), xscale="log")
        beside.set(ylabel="MiB (dashed)", ylim=(0, None))
        panel.set_xticks(values, [f"{value:,}" for value in values], fontsize=8)
        panel.minorticks_off()
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120), new=True)
