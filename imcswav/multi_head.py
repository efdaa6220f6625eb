"""MultiHeadClustering: the clusterer `multi_head` in scikit-learn's manners."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from imcswav.clusterers import Array
from imcswav.clusterers.multi_head import MultiHead


class MultiHeadClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Cluster ready features with many heads of which the one with the least loss is kept.

    The clusterer `multi_head` (after TEMI, arXiv 2303.17896) as a scikit-learn estimator: ``fit``, ``fit_predict``,
    ``predict``, ``predict_proba``, in pipelines and with ``clone``. All settings but ``n_clusters`` and
    ``random_state`` are the clusterer's, under its names and with its defaults, except that rows keep their lengths
    unless ``normalize``: the columns of a table may mean anything. For a network's features true is usual.

    After ``fit``: ``labels_`` int64 (n_samples,), ``clusterer_`` the fitted clusterer, ``n_features_in_``.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        heads: int = 16,
        hidden: int = 128,
        width: int = 64,
        neighbors: int = 50,
        smoothing: int = 8,
        smoothing_neighbors: int = 10,
        steps: int = 600,
        batch_size: int = 256,
        start: float = 0.2,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-4,
        momentum: float = 0.99,
        beta: float = 0.6,
        temperature: float = 0.1,
        normalize: bool = False,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.heads = heads
        self.hidden = hidden
        self.width = width
        self.neighbors = neighbors
        self.smoothing = smoothing
        self.smoothing_neighbors = smoothing_neighbors
        self.steps = steps
        self.batch_size = batch_size
        self.start = start
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.beta = beta
        self.temperature = temperature
        self.normalize = normalize
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the heads on features (n_samples, n_features); ``y`` is not looked at.

        Raises ValueError for what isn't a finite table and for a setting out of its range, DataError for fewer
        samples than clusters.
        """
        rows_NF = validate_data(self, X, dtype=[np.float64, np.float32])
        if self.n_clusters < 1:
            raise ValueError(f"n_clusters is {self.n_clusters}; give at least 1.")
        settings = {name: value for name, value in self.get_params().items() if name in MultiHead.Config.model_fields}
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.clusterer_ = MultiHead.create(clusters=self.n_clusters, seed=seed, **settings)
        self.labels_ = self.clusterer_.fit(rows_NF)
        return self

    def predict(self, X: Any) -> Array:
        """Cluster of each row, int64 (n_samples,) in 0 … n_clusters − 1."""
        return np.asarray(self.predict_proba(X).argmax(1))

    def predict_proba(self, X: Any) -> Array:
        """Probability of each cluster, float64 (n_samples, n_clusters); rows sum to 1."""
        check_is_fitted(self)
        rows_NF = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self.clusterer_.predict_proba(rows_NF)
