"""What `imcswav cluster` prints at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from rich.table import Table

from imcswav.clustering import OUTLIER, Clustering
from imcswav.clustering.tables import CLUSTERS, cluster_rows

FILES = {
    "report.html": "to look at, in any browser",
    "labels.csv": "a row an image",
    "clusters.csv": "a row a cluster",
    "quality.csv": "broken, blank, tiny and duplicate files",
    "skipped.csv": "files that can't be read",
}
MOST = 40
"""Clusters that are printed."""


def shown(clustering: Clustering, run: Path) -> Iterator[Table | str]:
    """The clusters, the largest first, and where everything lies."""
    rows: list[dict[str, Any]] = [dict(zip(CLUSTERS, row, strict=True)) for row in cluster_rows(clustering)]
    rows.sort(key=lambda row: -int(row["size"]))
    table = Table("cluster", "images", "share", "mean confidence", "for example")
    for row in rows[:MOST]:
        share = f"{float(row['share']):.1%}"
        outlier = row["cluster"] == OUTLIER
        central = [] if outlier else clustering.representatives(row["cluster"], 1).tolist()
        example = clustering.names[central[0]] if central else ""
        table.add_row(row["name"], f"{row['size']:,}", share, str(row["mean_confidence"]), example)
    yield table
    if len(rows) > MOST:
        yield f"… and {len(rows) - MOST} smaller ones."
    yield f"{len(clustering):,} images in {len(clustering.ids)} clusters. In {run}:"
    yield from (f"  {name:13} {what}" for name, what in FILES.items() if (run / name).is_file())
    place = quote(str(run))
    yield f"More images: imcswav predict {place} IMAGES    Correct clusters: imcswav edit {place} --help"
