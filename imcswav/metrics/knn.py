"""Nearest-neighbour accuracy: how well features alone tell the classes apart, given the bank's."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from pydantic import Field

from imcswav.metrics import Metric, Scored
from imcswav.plugins import hookimpl

ENTRIES = 2**25
"""Similarities held at a time (128 MiB)."""


class NearestNeighbours(Metric, name="knn"):
    """Plain majority vote of the ``k`` training images of highest cosine similarity.

    A tie between classes goes to the lowest. An image that is itself a training image (``scored.same``,
    rows in the same order) has no vote on itself. With a bank smaller than k, all of it votes.
    """

    reads = ("bank_labels_M",)

    class Config(Metric.Config):
        k: int = Field(20, ge=1)
        """Neighbours that vote."""

    config: Config

    @torch.no_grad()
    def __call__(self, scored: Scored) -> float:
        """Share of scored images whose class wins the vote, in [0, 1]."""
        assert scored.bank_labels_M is not None
        classes, index_M = np.unique(scored.bank_labels_M, return_inverse=True)
        bank_MF = F.normalize(torch.as_tensor(scored.bank_features_MF, dtype=torch.float32))
        queries_NF = torch.as_tensor(scored.features_NF, dtype=torch.float32)  # its length orders nothing anew
        class_M = torch.from_numpy(index_M)
        k = min(self.config.k, len(bank_MF) - scored.same)
        predicted: list[torch.Tensor] = []
        rows = max(1, ENTRIES // len(bank_MF))
        for start in range(0, len(queries_NF), rows):
            similar_nM = queries_NF[start : start + rows] @ bank_MF.T
            if scored.same:
                similar_nM.diagonal(start).fill_(-torch.inf)
            neighbours_nk = class_M[similar_nM.topk(k).indices]
            votes_nC = torch.zeros(len(similar_nM), len(classes), dtype=torch.int64)
            votes_nC.scatter_add_(1, neighbours_nk, torch.ones_like(neighbours_nk))
            predicted.append(votes_nC.argmax(1))
        return float((classes[torch.cat(predicted).numpy()] == scored.labels_N).mean())


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [NearestNeighbours]
