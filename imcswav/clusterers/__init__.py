"""Clusterers: features → clusters, after training and without a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from imcswav.component import Component
from imcswav.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]


class Clusterer(Component, kind="clusterer"):
    """Wraps an estimator over features (N, F). Build: ``config.build(clusters=K, seed=s)``.

    What prediction needs is kept as tensors (``state``), so that a model can be saved without pickle.
    """

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


def unit_rows(features_NF: Array) -> Array:
    """Rows scaled to length 1; a row of zeros stays."""
    lengths_N1 = np.linalg.norm(features_NF, axis=1, keepdims=True)
    return np.asarray(features_NF / np.maximum(lengths_N1, np.finfo(features_NF.dtype).tiny))
