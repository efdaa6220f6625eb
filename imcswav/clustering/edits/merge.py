"""Two clusters or more become one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

import numpy as np

from imcswav.clusterers import Array
from imcswav.clustering import OUTLIER, Clustering
from imcswav.clustering.edits.operation import STEP, Edit, column, counted, titled
from imcswav.errors import RunError


class Merge(Edit):
    """The largest of their probabilities counts. The first cluster keeps its number, the others' vanish for good.

    Each row then is scaled to sum 1 again. So exactly the images of these clusters are in the merged one, equals
    decided as before: with summed probabilities, images that a network isn't sure of would leave other clusters for it.
    Only outliers may join a cluster, whichever it is, for with fewer clusters they are surer. The name is the first
    cluster's, or that of the next one that has a name.
    """

    op: Literal["merge"] = "merge"
    clusters: tuple[int, ...]
    """Two or more; the first is the one that stays."""

    def prepared(self, now: Clustering, free: int) -> Self:
        """Nothing is learnt; raises RunError for a cluster that doesn't exist or is named twice, or fewer than two."""
        for cluster in self.clusters:
            column(now, cluster)
        if len(self.clusters) < 2:
            raise RunError("It takes two clusters or more to merge; name the one whose number stays first.")
        if len(set(self.clusters)) < len(self.clusters):
            raise RunError(f"`{self.command()}` names a cluster twice; name each once.")
        return self

    def applied(self, now: Clustering) -> Clustering:
        """The largest of the columns in the first one's place."""
        kept, gone = self.clusters[0], self.clusters[1:]
        columns = [column(now, cluster) for cluster in self.clusters]
        titles = {cluster: title for cluster, title in now.titles.items() if cluster not in self.clusters}
        named = [cluster for cluster in self.clusters if cluster in now.titles]
        return replace(
            now,
            probabilities_NK=merged(now.probabilities_NK, columns),
            ids=tuple(cluster for cluster in now.ids if cluster not in gone),
            titles=titles | ({kept: now.titles[named[0]]} if named else {}),
            given={image: kept if cluster in gone else cluster for image, cluster in now.given.items()},
        )

    def told(self, before: Clustering, after: Clustering) -> str:
        """Sizes before and after."""
        parts = [titled(before, cluster) for cluster in self.clusters]
        joined = int(((before.clusters_N == OUTLIER) & (after.clusters_N != OUTLIER)).sum())
        more = (
            f" {counted(joined)} {'is' if joined == 1 else 'are'} sure enough now, no outlier any more."
            if joined
            else ""
        )
        return f"Clusters {', '.join(parts[:-1])} and {parts[-1]} are one now: {titled(after, self.clusters[0])}.{more}"

    def command(self) -> str:
        """As on the command line."""
        return " ".join(["merge", *map(str, self.clusters)])


def merged(before_NK: Array, columns: list[int]) -> Array:
    """Probabilities (N, K') with the largest of ``columns`` in place of the first of them, the others left out."""
    inside_N = np.isin(before_NK.argmax(1), columns)
    now_NK: Array = before_NK.copy()
    now_NK[:, columns[0]] = before_NK[:, columns].max(1)
    now_NK = np.delete(now_NK, columns[1:], axis=1)
    place = columns[0] - sum(column < columns[0] for column in columns[1:])
    now_NK /= now_NK.sum(1, keepdims=True)
    rival_N = np.delete(now_NK, place, axis=1).max(1, initial=0)
    own_N = now_NK[:, place]
    now_NK[:, place] = np.where(
        inside_N, np.maximum(own_N, rival_N * np.float32(1 + STEP)), np.minimum(own_N, rival_N * np.float32(1 - STEP))
    )
    return now_NK
