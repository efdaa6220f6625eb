"""Two clusters or more become one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

import numpy as np

from imcswav.clustering import Clustering
from imcswav.clustering.edits.operation import Edit, column, titled
from imcswav.errors import RunError


class Merge(Edit):
    """Probabilities are summed. The first cluster keeps its number, the others' vanish for good.

    So an image of another cluster joins where the probabilities of these together are larger than its own cluster's.
    The name is the first cluster's, or that of the next one that has a name.
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
        """The columns summed into the first."""
        kept, gone = self.clusters[0], self.clusters[1:]
        columns = [column(now, cluster) for cluster in self.clusters]
        probabilities_NK = now.probabilities_NK.copy()
        probabilities_NK[:, columns[0]] = now.probabilities_NK[:, columns].sum(1)
        titles = {cluster: title for cluster, title in now.titles.items() if cluster not in self.clusters}
        named = [cluster for cluster in self.clusters if cluster in now.titles]
        return replace(
            now,
            probabilities_NK=np.delete(probabilities_NK, columns[1:], axis=1),
            ids=tuple(cluster for cluster in now.ids if cluster not in gone),
            titles=titles | ({kept: now.titles[named[0]]} if named else {}),
            given={image: kept if cluster in gone else cluster for image, cluster in now.given.items()},
        )

    def told(self, before: Clustering, after: Clustering) -> str:
        """Sizes before and after, and how many came from other clusters."""
        parts = [titled(before, cluster) for cluster in self.clusters]
        joined = len(after.members(self.clusters[0])) - sum(len(before.members(cluster)) for cluster in self.clusters)
        return (
            f"Clusters {', '.join(parts[:-1])} and {parts[-1]} are one now: {titled(after, self.clusters[0])}"
            + (f", {joined:,} of them from other clusters, where these are likelier together" if joined else "")
            + "."
        )

    def command(self) -> str:
        """As on the command line."""
        return " ".join(["merge", *map(str, self.clusters)])
