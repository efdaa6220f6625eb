"""A cluster becomes several."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field

from imcswav.clusterers import Array, unit_rows
from imcswav.clustering import Clustering
from imcswav.clustering.edits.operation import STEP, Edit, column, counted, products, rounded, softmax, titled
from imcswav.errors import RunError

STARTS, SEED = 10, 0
"""Of the spherical k-means."""
SHARPEST = 1e-3
"""Smallest temperature, for clusters whose images all look the same."""


class Split(Edit):
    """Spherical k-means on the unit features of the cluster's images; the largest part keeps number and name.

    A part's share of the cluster's probability is softmax(cos / s): cos between an image's features and the part's
    centre, s the mean 1 − cos of the cluster's images to their own centre, as for the clusterer ``spherical_kmeans``.
    An image that is in the cluster stays in one of its parts: the nearest gets at least (1 + r) / 2, where r is what
    the next cluster, or the threshold of outliers if that is more, is of the cluster's probability, and a little more
    than the next cluster. Images set by hand go to the part that is nearest.
    """

    op: Literal["split"] = "split"
    cluster: int
    into: Annotated[int, Field(ge=2)] = 2
    """Number of parts."""
    parts: tuple[int, ...] | None = None
    """Numbers of the parts, learnt as what follows is; the first is ``cluster``."""
    centres: tuple[tuple[float, ...], ...] | None = None
    """(parts, F), of length 1."""
    temperature: Annotated[float | None, Field(gt=0)] = None

    @property
    def unlearnt(self) -> bool:
        """Whether it was never prepared."""
        return self.centres is None

    def prepared(self, now: Clustering, free: int) -> Self:
        """Learn the centres; raises RunError for a cluster with fewer images than parts, or images too alike."""
        column(now, self.cluster)
        unit_MF = unit_rows(now.features_NF[now.members(self.cluster)])
        if len(unit_MF) < self.into:
            raise RunError(
                f"Cluster {self.cluster} has {counted(len(unit_MF))}, too few to be split into {self.into}; "
                f"choose a larger cluster or fewer parts."
            )
        import torch

        from imcswav.clusterers._spherical import spherical_kmeans

        found = spherical_kmeans(torch.from_numpy(unit_MF), self.into, seed=SEED, starts=STARTS)
        cosines_MP = unit_MF @ found.centres_KF.numpy().T
        sizes_P = np.bincount(cosines_MP.argmax(1), minlength=self.into)
        if not sizes_P.all():
            raise RunError(
                f"Cluster {self.cluster} can't be split into {self.into}: its images are too alike; try fewer parts."
            )
        order_P = np.argsort(-sizes_P, kind="stable")
        changes = {
            "parts": (self.cluster, *range(free, free + self.into - 1)),
            "centres": rounded(found.centres_KF.numpy()[order_P]),
            "temperature": rounded(np.asarray(max(SHARPEST, 1 - cosines_MP.max(1).mean()))),
        }
        return self.model_copy(update=changes)

    def applied(self, now: Clustering) -> Clustering:
        """The column shared out; new ones at the end, for their numbers are the largest."""
        assert self.parts is not None, "an edit is prepared before it is applied"
        place, shares_NP = column(now, self.cluster), self._shares(now)
        parts_NP = (now.probabilities_NK[:, [place]] * shares_NP).astype(np.float32)
        rows_M = np.flatnonzero((now.probabilities_NK.argmax(1) == place) & (now.confidence_N >= now.threshold))
        rivals_M = np.delete(now.probabilities_NK, place, axis=1)[rows_M].max(1, initial=0)
        nearest = (rows_M, shares_NP[rows_M].argmax(1))
        parts_NP[nearest] = np.maximum(parts_NP[nearest], rivals_M * np.float32(1 + STEP))
        probabilities_NK = np.concatenate([now.probabilities_NK, parts_NP[:, 1:]], axis=1)
        probabilities_NK[:, place] = parts_NP[:, 0]
        moved = {i: self.parts[shares_NP[i].argmax()] for i, cluster in now.given.items() if cluster == self.cluster}
        ids = (*now.ids, *self.parts[1:])
        return replace(now, probabilities_NK=probabilities_NK, ids=ids, given={**now.given, **moved})

    def _shares(self, now: Clustering) -> Array:
        """What each part gets of the cluster's probability, float64 (N, parts)."""
        assert self.temperature is not None
        shares_NP = softmax(products(now, self.centres) / self.temperature)
        place, rows_N = column(now, self.cluster), np.arange(len(shares_NP))
        own_N = now.probabilities_NK[:, place].astype(np.float64)
        rivals_N = np.delete(now.probabilities_NK, place, axis=1).max(1, initial=now.threshold)
        ratio_N = rivals_N / np.maximum(own_N, np.finfo(np.float32).tiny)
        nearest_N = shares_NP.argmax(1)
        share_N = shares_NP[rows_N, nearest_N]
        wanted_N = np.where(ratio_N <= 1, np.maximum(share_N, (1 + ratio_N) / 2), share_N)
        shares_NP *= np.divide(1 - wanted_N, 1 - share_N, out=np.zeros_like(share_N), where=share_N < 1)[:, None]
        shares_NP[rows_N, nearest_N] = wanted_N
        return shares_NP

    def told(self, before: Clustering, after: Clustering) -> str:
        """Sizes before and after."""
        assert self.parts is not None
        *parts, last = (titled(after, part) for part in self.parts)
        return f"Cluster {titled(before, self.cluster)} is {self.into} now: {', '.join(parts)} and {last}."

    def command(self) -> str:
        """As on the command line."""
        return f"split {self.cluster}" + (f" --into {self.into}" if self.into != 2 else "")
