"""Clusterers: features → clusters, after training and without a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from imcswav.component import Component

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
