"""Images that fit nowhere are taken out of all clusters."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field

from imcswav.clustering import OUTLIER, Clustering
from imcswav.clustering.edits.operation import Edit


class DropOutliers(Edit):
    """Images of less confidence are in cluster −1, until another such edit says another limit; 0 drops none.

    Images set by hand stay where they are.
    """

    op: Literal["drop_outliers"] = "drop_outliers"
    below: Annotated[float, Field(ge=0, le=1)]
    """The largest probability that is too small."""

    def prepared(self, now: Clustering, free: int) -> Self:
        """Nothing is learnt."""
        return self

    def applied(self, now: Clustering) -> Clustering:
        """Another threshold."""
        return replace(now, threshold=self.below)

    def told(self, before: Clustering, after: Clustering) -> str:
        """How many there are, and were."""
        out, were = (len(one.members(OUTLIER)) for one in (after, before))
        return (
            f"{out:,} of {len(after):,} images are in no cluster now, by confidence below {self.below:g} or by hand "
            f"(before: {were:,})."
        )

    def command(self) -> str:
        """As on the command line."""
        return f"drop-outliers --below {self.below:g}"
