"""Print the table of multi_head.md: k-means and the clusterer `multi_head` on the same features, five seeds.

    python docs/results/multi_head.py [--first-seed 0] [FEATURES.npz ...]

A file is one that `imcswav features` wrote of images in a folder a class: the folders' names score the clusters, and
nothing else sees them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from imcswav.clusterers import unit_rows
from imcswav.clusterers.multi_head import MultiHead
from imcswav.metrics.acc import accuracy


def main(files: list[Path], seeds: Iterable[int]) -> None:
    """Print a row as soon as it is measured."""
    pixels, digits = load_digits(return_X_y=True)
    components = PCA(20, random_state=0).fit_transform(pixels)
    sets = [("digits, 64 pixels", pixels, digits), ("digits, 20 principal components", components, digits)]
    sets += map(read, files)
    print("| features | images | k-means (n_init=20) | the same on unit rows | multi_head | seconds |")
    print("|---|---|---|---|---|---|")
    for name, features, labels in sets:
        clusters = len(np.unique(labels))
        row = [name, str(len(labels)), kmeans(features, labels, clusters, seeds)]
        row += [kmeans(unit_rows(features), labels, clusters, seeds), *heads(features, labels, clusters, seeds)]
        print("| " + " | ".join(row) + " |", flush=True)


def read(file: Path) -> tuple[str, Any, Any]:
    """Name, features (N, F) and labels (N,) of a file."""
    with np.load(file) as archive:
        features, folders = archive["features"], [Path(path).parent.name for path in archive["paths"]]
    return file.stem, features, np.unique(folders, return_inverse=True)[1]


def kmeans(features: Any, labels: Any, clusters: int, seeds: Iterable[int]) -> str:
    """Accuracy of scikit-learn's k-means."""
    return shown(accuracy(labels, KMeans(clusters, n_init=20, random_state=s).fit_predict(features)) for s in seeds)


def heads(features: Any, labels: Any, clusters: int, seeds: Iterable[int]) -> tuple[str, str]:
    """Accuracy of `multi_head` at its defaults, and its mean processor seconds."""
    values, seconds = [], []
    for seed in seeds:
        began = time.process_time()
        values.append(accuracy(labels, MultiHead.create(clusters=clusters, seed=seed).fit(features)))
        seconds.append(time.process_time() - began)
    return shown(values), f"{np.mean(seconds):.0f}"


def shown(values: Any) -> str:
    """Mean ± standard deviation (n − 1) in percent, and each."""
    each = 100 * np.array(list(values))
    return f"{each.mean():.1f} ± {each.std(ddof=1):.1f} ({', '.join(f'{value:.1f}' for value in each)})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--first-seed", type=int, default=0)
    given = parser.parse_args()
    main(given.files, range(given.first_seed, given.first_seed + 5))
