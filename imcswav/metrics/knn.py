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

    reads = ("bank_features_MF", "bank_labels_M")

    class Config(Metric.Config):
        k: int = Field(20, ge=1)
        """Neighbours that vote."""

    config: Config

    @torch.no_grad()
    def __call__(self, scored: Scored) -> float:
        """Share of scored images whose class wins the vote, in [0, 1]."""
        assert scored.bank_features_MF is not None
        assert scored.bank_labels_M is not None
        classes, index_M = np.unique(scored.bank_labels_M, return_inverse=True)
        bank_MF = F.normalize(scored.bank_features_MF.float())
        queries_NF = scored.features_NF.float()  # its length orders nothing anew
        class_M = torch.from_numpy(index_M).to(bank_MF.device)
        k = min(self.config.k, len(bank_MF) - scored.same)
        predicted: list[torch.Tensor] = []
        rows = min(max(1, ENTRIES // len(bank_MF)), len(queries_NF))
        memory = bank_MF.new_empty(rows, len(bank_MF))  # one for all chunks: to ask for it anew takes a third longer
        for start in range(0, len(queries_NF), rows):
            some_nF = queries_NF[start : start + rows]
            similar_nM = torch.mm(some_nF, bank_MF.T, out=memory[: len(some_nF)])
            if scored.same:
                similar_nM.diagonal(start).fill_(-torch.inf)
            neighbours_nk = class_M[similar_nM.topk(k).indices]
            votes_nC = neighbours_nk.new_zeros(len(some_nF), len(classes))
            votes_nC.scatter_add_(1, neighbours_nk, torch.ones_like(neighbours_nk))
            predicted.append(votes_nC.argmax(1))
        return float((classes[torch.cat(predicted).cpu().numpy()] == scored.labels_N).mean())


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [NearestNeighbours]
