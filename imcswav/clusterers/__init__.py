"""Clusterers: features → clusters, after training and without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from imcswav.component import Component
from imcswav.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Known:
    """Labels that somebody gave for some images, for methods that learn from them; never those that score."""

    index: Array
    """int64 (M,): rows of the features, none twice."""
    label: Array
    """int64 (M,): the cluster of each, 0 … K−1."""


class Clusterer(Component, kind="clusterer"):
    """Wraps an estimator over features (N, F). Build: ``config.build(clusters=K, seed=s)``.

    What prediction needs is kept as tensors (``state``), so that a model can be saved without pickle.
    """

    uses_known: ClassVar[bool] = False
    """Whether labels of some images can be given too: then it is ``fit(features_NF, known: Known | None = None)``."""

    state: dict[str, torch.Tensor]

    def __init__(self, config: Any, *, clusters: int, seed: int) -> None:
        super().__init__(config)
        self.clusters, self.seed = clusters, seed
        self.state = {}

    def fit(self, features_NF: Array) -> Array:
        """Cluster the training features; returns their labels (N,) in 0 … K−1 and fills ``state``."""
        raise NotImplementedError

    def predict_proba(self, features_NF: Array) -> Array:
        """Membership (N, K) of new features, from ``state`` alone; rows sum to 1."""
        raise NotImplementedError

    def module(self) -> nn.Module | None:
        """``predict_proba`` as a torch module for exported models; None where it has no such form.

        Features float32 (N, F) → probabilities float32 (N, K), for any N and on any device, by operations that
        ``torch.export`` can trace. What it needs of ``state`` is copied into buffers.
        """
        return None

    def checked(self, features_NF: Array, *, fitting: bool = False) -> Array:
        """Features as floats (N, F), at least float32; raises DataError when they can't be clustered."""
        features_NF = np.ascontiguousarray(features_NF)
        features_NF = features_NF.astype(np.promote_types(features_NF.dtype, np.float32), copy=False)
        if features_NF.ndim != 2:
            raise DataError(f"Features must be a table (images, features), not of shape {features_NF.shape}.")
        bad = int((~np.isfinite(features_NF)).any(1).sum())
        if bad:
            raise DataError(
                f"The features of {bad} of {len(features_NF)} images hold NaN or infinity; leave those "
                f"images out, or look at the training they come from."
            )
        if fitting and len(features_NF) < self.clusters:
            raise DataError(
                f"{len(features_NF)} images can't be split into {self.clusters} clusters; give more images "
                f"or set fewer clusters."
            )
        return features_NF

    def checked_known(self, known: Known, count: int) -> Known:
        """The known labels as int64, of ``count`` images; raises DataError where they don't fit."""
        index_M, label_M = np.asarray(known.index), np.asarray(known.label)
        if index_M.ndim != 1 or index_M.shape != label_M.shape or {index_M.dtype.kind, label_M.dtype.kind} - set("iu"):
            raise DataError(
                f"Known labels are an index and a label an image, two lists of whole numbers of one length, not "
                f"{index_M.dtype} {index_M.shape} and {label_M.dtype} {label_M.shape}."
            )
        for name, values_M, end in (("images", index_M, count), ("labels", label_M, self.clusters)):
            if len(values_M) and not 0 <= values_M.min() <= values_M.max() < end:
                raise DataError(
                    f"Known {name} are numbered 0 to {end - 1}, not {values_M.min()} to {values_M.max()}; correct them."
                )
        if len(np.unique(index_M)) < len(index_M):
            raise DataError("An image has two known labels; give each image once.")
        return Known(index_M.astype(np.int64), label_M.astype(np.int64))


def unit_rows(features_NF: Array) -> Array:
    """Rows scaled to length 1; a row of zeros stays."""
    lengths_N1 = np.linalg.norm(features_NF, axis=1, keepdims=True)
    return np.asarray(features_NF / np.maximum(lengths_N1, np.finfo(features_NF.dtype).tiny))
