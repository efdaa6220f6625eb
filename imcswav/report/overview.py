"""The first table of a report, and the table of clusters and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imcswav.clustering import OUTLIER, Clustering
from imcswav.metrics.acc import contingency, match
from imcswav.report.files import read_json
from imcswav.report.health import DOUBTFUL, effective_clusters

CELLS = 1_600
"""Most cells of a confusion table; of more, each cluster's most frequent labels stand in the health table alone."""


def info(clustering: Clustering, run: Path, files: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The first table: what was clustered, and how it came out."""
    sizes_K = np.array([len(clustering.members(cluster)) for cluster in clustering.ids])
    confidence_N, outliers = clustering.confidence_N, int((clustering.clusters_N == OUTLIER).sum())
    splits = ", ".join(f"{count:,} {split}" for split, count in Counter(clustering.splits).items())
    summary = read_json(run / "summary.json")
    scores = [
        f"{str(name).upper()} {summary[name]:.3f}"
        for name in summary.get("metrics", [])
        if summary.get(name) is not None
    ]
    rows = [
        ("Images", f"{len(clustering):,}" + (f" ({splits})" if splits else "")),
        ("Clusters", f"{len(clustering.ids)}, of which {np.count_nonzero(sizes_K)} have images"),
        ("Effective number of clusters", f"{effective_clusters(sizes_K):.1f}"),
        ("Sizes", f"{sizes_K.min():,} – {sizes_K.max():,}, median {np.median(sizes_K):,.0f}"),
        ("Mean confidence", f"{confidence_N.mean():.2f}"),
        (f"Images of confidence below {DOUBTFUL}", f"{(confidence_N < DOUBTFUL).mean():.0%}"),
    ]
    rows += [("Outliers", f"{outliers:,}")] if outliers else []
    rows += [("Set by hand", f"{len(clustering.given):,}")] if clustering.given else []
    rows += [("Near duplicates", f"{len(clustering.duplicates):,}")] if clustering.duplicates else []
    rows += [("Unreadable files", f"{files['skipped']['count']:,}")] if files["skipped"] else []
    rows += [("Scores with labels, before any edit", ", ".join(scores))] if scores else []
    rows += [("Folder of the images", clustering.root)] if clustering.root else []
    return [*rows, ("Run", str(run))]


def confusion(clustering: Clustering) -> dict[str, Any]:
    """Counts of images by label (rows) and cluster, each cluster beside the label that matching gave it."""
    known = [i for i, label in enumerate(clustering.labels) if label]
    if not known:
        return {}
    names, labels_M = np.unique([clustering.labels[i] for i in known], return_inverse=True)
    ids, clusters_M = np.unique(clustering.clusters_N[known], return_inverse=True)
    if len(names) * len(ids) > CELLS:
        return {}
    counts = contingency(labels_M, clusters_M, len(names), len(ids))
    matched = [column for _, column in match(counts)]
    order = matched + [column for column in range(len(ids)) if column not in matched]
    rows = [
        {"label": str(name), "cells": [(int(n), float(n / max(1, row.sum()))) for n in row[order]]}
        for name, row in zip(names, counts, strict=True)
    ]
    columns = [int(ids[column]) for column in order]
    return {"columns": columns, "titles": [clustering.title(column) for column in columns], "rows": rows}
