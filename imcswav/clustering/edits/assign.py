"""Images set by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field

from imcswav.clustering import OUTLIER, Clustering
from imcswav.clustering.edits.operation import Edit, column, counted
from imcswav.errors import RunError
from imcswav.files import unguarded


class Assign(Edit):
    """These images are in that cluster, or in none (−1), whatever their probabilities say.

    It holds for the run's own images, known by their names; a model asked about pixels goes by probabilities.
    """

    op: Literal["assign"] = "assign"
    images: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names as in ``labels.csv``."""
    cluster: int

    def prepared(self, now: Clustering, free: int) -> Self:
        """Nothing is learnt; raises RunError for an image or a cluster that isn't there."""
        if self.cluster != OUTLIER:
            column(now, self.cluster)
        known = set(now.names)
        # tables put an apostrophe before names that spreadsheets would take for formulas
        images = tuple(name if name in known else unguarded(name) for name in self.images)
        if unknown := [name for name in images if name not in known]:
            more = f" (and {len(unknown) - 1} more are missing)" if len(unknown) > 1 else ""
            raise RunError(f"There is no image '{unknown[0]}'{more}; name images as labels.csv does.")
        return self.model_copy(update={"images": images})

    def applied(self, now: Clustering) -> Clustering:
        """Images that aren't among ``now``'s are passed over."""
        asked = set(self.images)
        given = {image: self.cluster for image, name in enumerate(now.names) if name in asked}
        return replace(now, given={**now.given, **given})

    def told(self, before: Clustering, after: Clustering) -> str:
        """How many images, and how many were elsewhere."""
        where = "no cluster" if self.cluster == OUTLIER else f"cluster {self.cluster}"
        moved = int((before.clusters_N != after.clusters_N).sum())
        count = len(set(self.images))
        verb = "is" if count == 1 else "are"
        return f"{counted(count)} {verb} in {where} by hand now; {moved:,} changed cluster by that."

    def command(self) -> str:
        """In words: there is no such command, pages make these edits."""
        more = f" and {len(self.images) - 1} more" if len(self.images) > 1 else ""
        return f"assign {self.images[0]}{more} to {self.cluster}"
