"""Labels of all training images that k-means makes between epochs, for losses to read in the steps that follow."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from torch import Tensor

from imcswav.clusterers._spherical import spherical_kmeans
from imcswav.distributed import from_main_tensor
from imcswav.learners import TrainingState

STARTS = 3
"""Starts of k-means that are drawn anew each time."""
ITERATIONS = 30
"""Most iterations of a start of k-means: labels are soon made anew."""
TOLERANCE = 1e-3
"""Share of images that may still change cluster when a start ends before that."""


class Labels(TrainingState):
    """A cluster of each of N images, and which images are left out: those whose features moved most.

    ``labels`` (N,) int64, ``keep`` (N,) bool, the clusters' ``centres`` (K, D) and, with ``drop``, the features'
    directions at the last labelling, ``past`` (N, D) in float16: 2 · N · D bytes, 26 MB for 50,000 images of 256.
    All are empty before the first labelling. Checkpoints have them, exported models don't.

    Later labellings write into the same memory, where a recorded step finds them. They number the clusters as they
    like, for the steps in between compare labels of one labelling only.
    """

    labels: Tensor
    keep: Tensor
    centres: Tensor
    past: Tensor
    sized_by_state: tuple[str, ...] = ("labels", "keep", "centres")

    def __init__(self, drop: float) -> None:
        super().__init__()
        self.drop = drop
        self.register_buffer("labels", torch.empty(0, dtype=torch.int64))
        self.register_buffer("keep", torch.empty(0, dtype=torch.bool))
        self.register_buffer("centres", torch.empty(0, 0))
        if drop:
            self.register_buffer("past", torch.empty(0, 0, dtype=torch.float16))
            self.sized_by_state = (*self.sized_by_state, "past")

    @property
    def made(self) -> bool:
        """Whether there has been a labelling; the device isn't asked."""
        return len(self.labels) > 0

    @torch.no_grad()
    def make(self, features_ND: Tensor, clusters: int, seed: int) -> None:
        """Label all images; raises DataError for fewer of them than clusters, and for NaN.

        Beside the starts of k-means that are drawn, one goes on from the last centres; the best of all counts, so that
        neither an unlucky draw nor an early mistake stays.
        """
        found = spherical_kmeans(
            features_ND,
            clusters,
            seed=seed,
            starts=STARTS,
            iterations=ITERATIONS,
            tolerance=TOLERANCE,
            also_KF=self.centres if self.made else None,
        )
        rows_ND = _unit(features_ND)
        self._hold("keep", self._steady(rows_ND))
        # of two equally good starts, ranks on unlike hardware might not choose the same
        self._hold("labels", from_main_tensor(found.labels_N))
        self._hold("centres", from_main_tensor(found.centres_KF))
        if self.drop:
            self._hold("past", rows_ND)

    def deal(self, images: int, clusters: int) -> None:
        """Labels without a look at features, as many of each cluster; there are no centres to speak of."""
        labels_N = torch.arange(images, device=self.labels.device) % clusters
        self._hold("labels", labels_N)
        self._hold("keep", torch.ones_like(labels_N, dtype=torch.bool))
        self._hold("centres", torch.zeros(clusters, 0, device=self.labels.device))

    def members(self, index_B: Tensor) -> Tensor:
        """Whether an image belongs to a cluster, (B, K); to none when it is left out."""
        clusters_K = torch.arange(len(self.centres), device=self.labels.device)
        labels_B1, keep_B1 = (held.index_select(0, index_B).unsqueeze(1) for held in (self.labels, self.keep))
        return (labels_B1 == clusters_K) & keep_B1

    def _steady(self, rows_ND: Tensor) -> Tensor:
        """All but the share ``drop`` whose cosine with their last features is least; all at the first labelling."""
        keep_N = torch.ones(len(rows_ND), dtype=torch.bool, device=rows_ND.device)
        if self.drop and self.made:
            # the same order as by cosine, but small moves aren't rounded away; float16 rows aren't quite unit ones
            moved_N = (rows_ND - _unit(self.past)).square_().sum(1)
            keep_N[moved_N.topk(round(self.drop * len(moved_N))).indices] = False
        return keep_N

    def _hold(self, name: str, value: Tensor) -> None:
        held = getattr(self, name)
        if held.shape != value.shape:
            held = held.new_empty(value.shape, device=value.device)
            setattr(self, name, held)
        held.copy_(value)


def _unit(x_ND: Tensor) -> Tensor:
    return F.normalize(x_ND.float(), dim=1)
