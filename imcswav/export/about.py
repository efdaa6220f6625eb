"""What an exported file says of itself."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from imcswav import __version__
from imcswav.model import Model

KEY = "imcswav"
"""The key of it, as JSON, among a file's metadata."""


def describe(model: Model, run: Path) -> dict[str, Any]:
    """Version, what goes in, what comes out; names of clusters are those of the run's ``clusters.csv``."""
    facts = model.facts
    # a learner may normalise by other figures than the data's
    places: list[Any] = [getattr(model.learner, "views", None), model.learner, facts]
    normalises = next(place for place in places if hasattr(place, "mean"))
    return {
        "version": __version__,
        "size": facts.size,
        "channels": facts.channels,
        "resize": facts.resize,
        "mean": [float(value) for value in normalises.mean],
        "std": [float(value) for value in normalises.std],
        "clusters": model.clusters,
        "names": cluster_names(run, model.clusters),
        "views": model.views,
        "flip": model.flip,
    }


def cluster_names(run: Path, clusters: int) -> list[str]:
    """A name for each of the model's clusters: "cluster 3" unless the run has a ``clusters.csv`` that knows better."""
    names = {str(number): f"cluster {number}" for number in range(clusters)}
    try:
        with (run / "clusters.csv").open(newline="", encoding="utf-8") as file:
            given = {row.get("cluster"): row.get("name") for row in csv.DictReader(file)}
    except (OSError, ValueError):  # no such file, or none of ours
        given = {}
    return [given.get(number) or name for number, name in names.items()]
