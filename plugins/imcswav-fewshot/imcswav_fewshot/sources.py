"""Features with their classes, from a run, an archive, or the pixels of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imcswav import load_recipe, run_features
from imcswav.clusterers import Array
from imcswav.errors import DataError


class Source(NamedTuple):
    """N images."""

    features_NF: Array
    labels_N: Array
    """Classes; −1 where unknown."""


def read(source: str, changes: Sequence[str] = ()) -> Source:
    """A run's folder; an archive (``.npz``) with ``features`` (N, F) and ``labels`` (N,); or a recipe, for its pixels.

    ``changes`` to the recipe are as in ``imcswav run --set``. Raises DataError where no class is known, or what
    ``imcswav`` raises where the run, recipe or data can't be had.
    """
    path = Path(source)
    if path.is_dir():
        found = run_features(path)
        features_NF, labels_N = found.features_NF, found.labels_N
    elif path.suffix == ".npz":
        features_NF, labels_N = _archive(path)
    else:
        data = load_recipe(source, changes).data.build().readable()
        split = data.test or data.train
        pixels_NCHW = split.images if len(split) == 0 else split.images[np.arange(len(split))]
        features_NF = pixels_NCHW.flatten(1).float().numpy() / 255
        labels_N = None if split.labels is None else split.labels.numpy()
    if labels_N is None or not (labels_N >= 0).any():
        raise DataError(f"No class of the images of {source} is known, so nothing can be scored; give labelled ones.")
    return Source(features_NF, labels_N)


def _archive(path: Path) -> tuple[Array, Array]:
    try:
        with np.load(path) as arrays:
            features_NF, labels_N = arrays["features"], arrays["labels"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path} is no archive with features and labels ({error}); write both with numpy.savez."
        ) from error
    if features_NF.ndim != 2 or labels_N.shape != features_NF.shape[:1] or labels_N.dtype.kind not in "iu":
        raise DataError(
            f"{path} must hold features (N, F) and whole numbers labels (N,), not {features_NF.shape} and "
            f"{labels_N.dtype} {labels_N.shape}."
        )
    if not np.isfinite(features_NF).all():
        raise DataError(f"Features in {path} hold NaN or infinity; leave those images out.")
    return features_NF, labels_N


def split_classes(source: Source, novel: Sequence[int]) -> tuple[list[int], Array | None]:
    """The novel classes (all where none is named), and the mean of the other classes' features (None without any).

    Raises DataError for a class that isn't there.
    """
    there = sorted(set(source.labels_N[source.labels_N >= 0].tolist()))
    if missing := sorted(set(novel) - set(there)):
        raise DataError(f"There is no class {missing[0]} among the images; classes are {', '.join(map(str, there))}.")
    chosen = list(dict.fromkeys(novel)) or there
    base_N = np.isin(source.labels_N, [name for name in there if name not in chosen])
    return chosen, source.features_NF[base_N].mean(0) if base_N.any() else None
