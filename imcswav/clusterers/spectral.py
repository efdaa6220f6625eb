"""Spectral clustering over features (Ng, Jordan & Weiss 2001)."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from imcswav.clusterers import Array, Clusterer, unit_rows
from imcswav.errors import DataError
from imcswav.plugins import hookimpl


class Spectral(Clusterer, name="spectral"):
    """scikit-learn's spectral clustering of the graph of nearest neighbours.

    It can't place new images by itself: they get the vote of their ``voters`` nearest training images, so
    the state holds all training features. ``predict_proba`` is the share of votes, for a training image
    too, which at a border may so differ from its label of ``fit``.
    """

    class Config(Clusterer.Config):
        neighbors: int = Field(10, ge=1)
        """Neighbours of each image in the graph, itself included."""
        voters: int = Field(20, ge=1)
        """Nearest training images that vote on a new one; all of them where there are fewer."""
        normalize: bool = True
        """Scale features to length 1 first, so that distance orders as cosine does."""

    config: Config

    def fit(self, features_NF: Array) -> Array:
        """Labels (N,); raises DataError unless there are more images than clusters, and for NaN."""
        from sklearn.cluster import SpectralClustering  # a second to import

        features_NF = self._prepared(features_NF, fitting=True)
        if len(features_NF) == self.clusters:
            raise DataError(
                f"Spectral clustering needs more images than the {self.clusters} clusters; give more images "
                f"or set fewer clusters."
            )
        estimator = SpectralClustering(
            self.clusters,
            affinity="nearest_neighbors",
            n_neighbors=min(self.config.neighbors, len(features_NF)),
            random_state=self.seed % 2**32,  # scikit-learn takes 32 bits
        )
        labels_N = np.asarray(estimator.fit_predict(features_NF), dtype=np.int64)
        self.state = {"features": torch.from_numpy(features_NF.copy()), "labels": torch.from_numpy(labels_N)}
        return labels_N

    def predict_proba(self, features_NF: Array) -> Array:
        """Share of the votes for each cluster (N, K)."""
        from sklearn.neighbors import KNeighborsClassifier

        known_MF, labels_M = self.state["features"].numpy(), self.state["labels"].numpy()
        vote = KNeighborsClassifier(min(self.config.voters, len(known_MF))).fit(known_MF, labels_M)
        shares_NK = np.zeros((len(features_NF), self.clusters))
        shares_NK[:, vote.classes_] = vote.predict_proba(self._prepared(features_NF))  # clusters may be empty
        return shares_NK

    def _prepared(self, features_NF: Array, fitting: bool = False) -> Array:
        features_NF = self.checked(features_NF, fitting=fitting)
        return unit_rows(features_NF) if self.config.normalize else features_NF


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Spectral]
