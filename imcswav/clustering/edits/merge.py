"""Two clusters or more become one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

import numpy as np

from imcswav.clustering import Clustering
from imcswav.clustering.edits.operation import Edit, column, titled
from imcswav.errors import RunError


class Merge(Edit):
    """The largest of their probabilities counts. The first cluster keeps its number, the others' vanish for good.

    Each row then is scaled to sum 1 again. So exactly the images of these clusters are in the merged one: with summed
    probabilities, images that a network isn't sure of would leave other clusters for it. The name is the first
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
        probabilities_NK = now.probabilities_NK.copy()
        probabilities_NK[:, columns[0]] = now.probabilities_NK[:, columns].max(1)
        probabilities_NK = np.delete(probabilities_NK, columns[1:], axis=1)
        titles = {cluster: title for cluster, title in now.titles.items() if cluster not in self.clusters}
        named = [cluster for cluster in self.clusters if cluster in now.titles]
        return replace(
            now,
            probabilities_NK=probabilities_NK / probabilities_NK.sum(1, keepdims=True),
            ids=tuple(cluster for cluster in now.ids if cluster not in gone),
            titles=titles | ({kept: now.titles[named[0]]} if named else {}),
            given={image: kept if cluster in gone else cluster for image, cluster in now.given.items()},
        )

    def told(self, before: Clustering, after: Clustering) -> str:
        """Sizes before and after."""
        parts = [titled(before, cluster) for cluster in self.clusters]
        return f"Clusters {', '.join(parts[:-1])} and {parts[-1]} are one now: {titled(after, self.clusters[0])}."

    def command(self) -> str:
        """As on the command line."""
        return " ".join(["merge", *map(str, self.clusters)])
