"""Metrics: agreement of clusters with ground truth, where ground truth exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from imcswav.component import Component

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Scored:
    """What a metric may look at.

    ``labels_N`` ground truth and ``clusters_N`` assignments of the scored images; ``features_NF`` their features,
    where the network computed them: on a GPU they stay there until a metric asks for ``.cpu()``.
    ``bank_features_MF`` and ``bank_labels_M`` are the training images'. What isn't known is None. ``same`` says that
    the scored images are the training images (one split), so that a neighbour search must leave the query out.
    """

    labels_N: Array
    clusters_N: Array | None
    features_NF: Tensor
    bank_features_MF: Tensor | None
    bank_labels_M: Array | None
    same: bool


class Metric(Component, kind="metric"):
    """A number in [−1, 1], higher is better."""

    reads: ClassVar[tuple[str, ...]] = ("clusters_N",)
    """The fields of ``Scored`` without which the metric can't be had; it is left out where one is None.

    During training the training images' features are only computed for a metric that names them here.
    """

    def __call__(self, scored: Scored) -> float:
        """The figure."""
        raise NotImplementedError
