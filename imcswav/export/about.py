"""What an exported file says of itself."""

from __future__ import annotations

from typing import Any

from imcswav import __version__
from imcswav.model import Model

KEY = "imcswav"
"""The key of it, as JSON, among a file's metadata."""


def describe(model: Model) -> dict[str, Any]:
    """Version, what goes in, what comes out: of each column of the probabilities the cluster's number and name.

    ``below``: images of less confidence are in no cluster.
    """
    facts = model.facts
    mean, std = model.learner.normalization()
    titles = model.titles
    return {
        "version": __version__,
        "size": facts.size,
        "channels": facts.channels,
        "resize": facts.resize,
        "mean": list(mean),
        "std": list(std),
        "clusters": len(model.ids),
        "ids": list(model.ids),
        "names": [titles.get(cluster) or f"cluster {cluster}" for cluster in model.ids],
        "below": 0.0 if model.edits is None else model.edits.after.threshold,
        "views": model.views,
        "flip": model.flip,
    }
