"""Growth of a step's time and memory as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imcswav.files import write_atomically


def plot_growth(path: Path, growth: dict[str, list[dict[str, Any]]]) -> None:
    """A PNG with a panel for each thing that grows: ms (solid) and MiB (dashed) of a step, both axes logarithmic.

    Points that failed are left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(growth), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (name, points) in zip(figure.subplots(1, len(growth), squeeze=False)[0], growth.items(), strict=True):
        good = [point for point in points if "failed" not in point]
        values = [point["value"] for point in good]
        panel.loglog(values, [1000 * point["seconds"] for point in good], "o-", color="C0")
        panel.set(title=name, xlabel=name, ylabel="ms a step (solid)")
        panel.set_xticks(values, [f"{value:,}" for value in values])
        panel.minorticks_off()
        memory = [point for point in good if point["memory"]]
        beside = panel.twinx()
        beside.loglog([p["value"] for p in memory], [p["memory"] / 2**20 for p in memory], "s--", color="C1")
        beside.set_ylabel("MiB (dashed)")
        beside.minorticks_off()
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
