"""Clusters of a finished run, read from its ``assignments.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from imcswav.clusterers import Array
from imcswav.errors import RunError
from imcswav.files import read_csv

Key = tuple[str, str]


def read_clusters(run: Path) -> dict[Key, int]:
    """Cluster of each image by its split and its name, with or without the split before it; labels aren't read.

    Raises RunError where there is no such file that can be read.
    """
    try:
        rows = read_csv(run / "assignments.csv")
        prefixed = all(row["image"].startswith(f"{row['split']}/") for row in rows)
        bare = [row["image"].removeprefix(f"{row['split']}/" if prefixed else "") for row in rows]
        return {(row["split"], image): int(row["cluster"]) for row, image in zip(rows, bare, strict=True)}
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{run} has no readable assignments.csv ({error}); is the run finished?") from error


def of_common_images(runs: Sequence[Mapping[Key, int]]) -> list[Array]:
    """The clusters (N,) of each run, of the images that all have, in the first one's order."""
    first, *others = runs
    common = [key for key in first if all(key in other for other in others)]
    return [np.array([run[key] for key in common], dtype=np.int64) for run in runs]
