"""What every edit is: checked and learnt once, on the clustering it is made in; then applied to any images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from imcswav.clusterers import Array, unit_rows
from imcswav.clustering import OUTLIER, Clustering
from imcswav.errors import RunError

STEP = float(np.finfo(np.float32).eps)
"""A float32 times 1 ± STEP is another one above or below: of equals, the first column would win."""


class Edit(BaseModel):
    """One edit as it is recorded. Subclasses name themselves by a literal ``op``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    when: str = ""
    """UTC, ISO 8601; "" before it is recorded."""
    said: str = ""
    """What it changed, a sentence or two; "" before it is recorded."""

    @property
    def unlearnt(self) -> bool:
        """Whether it lacks what ``prepared`` adds."""
        return False

    def prepared(self, now: Clustering, free: int) -> Self:
        """The same with all that ``applied`` needs, learnt from ``now``; new clusters are numbered from ``free``.

        Raises RunError for what the clustering doesn't have or can't be done with it.
        """
        raise NotImplementedError

    def applied(self, now: Clustering) -> Clustering:
        """The clustering after the edit: of each image by its own probabilities and features, whatever the others."""
        raise NotImplementedError

    def told(self, before: Clustering, after: Clustering) -> str:
        """What it changed, in a sentence or two."""
        raise NotImplementedError

    def command(self) -> str:
        """The edit as one would type it."""
        raise NotImplementedError


def column(now: Clustering, cluster: int) -> int:
    """Where a cluster's probability stands; raises RunError where there is no such cluster."""
    if cluster not in now.ids:
        raise RunError(f"There is no cluster {cluster}; there are {numbers(now.ids)}.")
    return now.ids.index(cluster)


def numbers(clusters: Sequence[int]) -> str:
    """Ascending numbers for people: "0 to 5, 7, 9"."""
    runs: list[list[int]] = []
    for cluster in clusters:
        if runs and cluster == runs[-1][1] + 1:
            runs[-1][1] = cluster
        else:
            runs.append([cluster, cluster])
    return ", ".join(
        str(first) if first == last else f"{first}{' to ' if last > first + 1 else ', '}{last}" for first, last in runs
    )


def titled(now: Clustering, cluster: int) -> str:
    """A cluster with its size: "3 "deer" (120 images)"."""
    name = f' "{now.titles[cluster]}"' if cluster in now.titles else ""
    return f"{'outliers' if cluster == OUTLIER else cluster}{name} ({counted(len(now.members(cluster)))})"


def counted(count: int) -> str:
    """ "1 image", "2 images"."""
    return "1 image" if count == 1 else f"{count:,} images"


def rounded(values: Array) -> Any:
    """Six digits of each, as nested tuples: what is recorded is what is used."""
    if values.ndim == 0:
        return float(f"{values:.6g}")
    return tuple(rounded(np.asarray(value)) for value in values)


def products(now: Clustering, rows_JF: Any) -> Array:
    """Each image's unit features times each of these rows, float32 (N, J)."""
    rows = np.asarray(rows_JF, np.float32)
    return unit_rows(now.features_NF) @ rows.T if len(now) else np.zeros((0, len(rows)), np.float32)


def softmax(logits_NK: Array) -> Array:
    """Of each row, float64."""
    shares_NK = np.exp(logits_NK - logits_NK.max(1, keepdims=True), dtype=np.float64)
    return np.asarray(shares_NK / shares_NK.sum(1, keepdims=True))
