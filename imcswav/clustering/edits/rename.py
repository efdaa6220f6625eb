"""A name for a cluster."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import AfterValidator

from imcswav.clustering import OUTLIER, Clustering
from imcswav.clustering.edits.operation import Edit, column
from imcswav.errors import RunError

LONGEST = 100
"""Characters of a name."""


def _clean(name: str) -> str:
    """One line without characters that can't be seen."""
    seen = "".join(character for character in name if character.isprintable() or character.isspace())
    return " ".join(seen.split())


class Rename(Edit):
    """The cluster is called so; an empty name takes the name away. No two clusters have the same."""

    op: Literal["rename"] = "rename"
    cluster: int
    name: Annotated[str, AfterValidator(_clean)]

    def prepared(self, now: Clustering, free: int) -> Self:
        """Nothing is learnt; raises RunError for a name that is taken or too long."""
        column(now, self.cluster)
        for other in (*now.ids, OUTLIER):
            if other != self.cluster and self.name in (now.title(other), f"cluster {other}"):
                whose = "of outliers" if other == OUTLIER else f"of cluster {other}"
                raise RunError(f'"{self.name}" is the name {whose} already; choose another.')
        if re.fullmatch(r"cluster \d+", self.name) and self.name != f"cluster {self.cluster}":
            raise RunError(f'"{self.name}" would be the name of another cluster, should there be one; choose another.')
        if len(self.name) > LONGEST:
            raise RunError(f"A name of {len(self.name)} characters is too long; {LONGEST} are the most.")
        return self

    def applied(self, now: Clustering) -> Clustering:
        """Another title, nothing else."""
        column(now, self.cluster)
        titles = {cluster: title for cluster, title in now.titles.items() if cluster != self.cluster}
        return replace(now, titles=titles | ({self.cluster: self.name} if self.name else {}))

    def told(self, before: Clustering, after: Clustering) -> str:
        """Names before and after."""
        old = f' (before: "{before.titles[self.cluster]}")' if self.cluster in before.titles else ""
        new = f'is called "{self.name}" now' if self.name else "has no name now"
        return f"Cluster {self.cluster} {new}{old}."

    def command(self) -> str:
        """As on the command line."""
        return f'rename {self.cluster} "{self.name}"'
