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
        keys = keyed([row["split"] for row in rows], [row["image"] for row in rows])
        return {key: int(row["cluster"]) for key, row in zip(keys, rows, strict=True)}
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{run} has no readable assignments.csv ({error}); is the run finished?") from error


def keyed(splits: Sequence[str], names: Sequence[str]) -> list[Key]:
    """Split and name of each image, the name without the split before it where all have it."""
    prefixed = all(name.startswith(f"{split}/") for split, name in zip(splits, names, strict=True))
    bare = [name.removeprefix(f"{split}/" if prefixed else "") for split, name in zip(splits, names, strict=True)]
    return list(zip(splits, bare, strict=True))


def of_common_images(runs: Sequence[Mapping[Key, int]]) -> list[Array]:
    """The clusters (N,) of each run, of the images that all have, in the first one's order."""
    first, *others = runs
    common = [key for key in first if all(key in other for other in others)]
    return [np.array([run[key] for key in common], dtype=np.int64) for run in runs]
