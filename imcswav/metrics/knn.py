"""Nearest-neighbour accuracy: how well features alone tell the classes apart, given the bank's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from pydantic import Field
from torch import Tensor

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
        class_M = torch.from_numpy(index_M).to(scored.bank_features_MF.device)
        own_N = torch.arange(len(scored.features_NF)) if scored.same else None
        predicted: list[Tensor] = []
        for neighbours_nk in neighbours(scored.features_NF, scored.bank_features_MF, self.config.k, own_N):
            classes_nk = class_M[neighbours_nk]
            votes_nC = classes_nk.new_zeros(len(classes_nk), len(classes))
            votes_nC.scatter_add_(1, classes_nk, torch.ones_like(classes_nk))
            predicted.append(votes_nC.argmax(1))
        return float((classes[torch.cat(predicted).cpu().numpy()] == scored.labels_N).mean())


@torch.no_grad()
def neighbours(queries_NF: Tensor, bank_MF: Tensor, k: int, own_N: Tensor | None = None) -> Iterator[Tensor]:
    """Rows of the bank (n, k) of highest cosine similarity, most similar first, for chunk after chunk of the queries.

    ``own_N`` is the row of the bank that each query is itself, and which is left out; None: they are other images. All
    of a bank smaller than k is returned.
    """
    bank_MF = F.normalize(bank_MF.float())
    queries_NF = queries_NF.float()  # its length orders nothing anew
    k = min(k, len(bank_MF) - (own_N is not None))
    rows = min(max(1, ENTRIES // len(bank_MF)), len(queries_NF))
    memory = bank_MF.new_empty(rows, len(bank_MF))  # one for all chunks: to ask for it anew takes a third longer
    for start in range(0, len(queries_NF), rows):
        some_nF = queries_NF[start : start + rows]
        similar_nM = torch.mm(some_nF, bank_MF.T, out=memory[: len(some_nF)])
        if own_N is not None:
            own_n1 = own_N[start : start + rows, None].to(bank_MF.device)
            similar_nM.scatter_(1, own_n1, -torch.inf)
        yield similar_nM.topk(k).indices


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [NearestNeighbours]
