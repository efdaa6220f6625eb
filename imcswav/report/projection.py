"""The map of a report: features in two dimensions, kept in ``clustering/map.npz``, since edits don't move an image.

PCA always; UMAP (McInnes et al. 2018) where the extra ``umap`` is installed, else t-SNE (van der Maaten and Hinton
2008). Both see a sample; every other image stands at the mean of its nearest sampled neighbours.
"""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imcswav.clusterers import Array, unit_rows
from imcswav.clustering import Clustering
from imcswav.clustering.store import FOLDER
from imcswav.files import write_atomically
from imcswav.threads import one_blas_thread

FILE = "map.npz"
SAMPLE = 3_000
"""Most images that t-SNE or UMAP sees."""
NEIGHBOURS = 3
"""Sampled images by which another one is placed."""
WIDTH = 50
"""Principal components that t-SNE and UMAP see."""
FEWEST = 10
"""Fewer images than this have a PCA alone."""


@one_blas_thread()
def project(clustering: Clustering, images: Sequence[int], run: Path) -> dict[str, Array]:
    """Positions float32 (M, 2) of the images, about −1 … 1, by name of the method: ``pca`` and ``umap`` or ``tsne``."""
    unit_MF = unit_rows(clustering.features_NF[list(images)])
    further = ["umap" if importlib.util.find_spec("umap") else "tsne"] if len(unit_MF) >= FEWEST else []
    key = hashlib.sha256(unit_MF.tobytes()).hexdigest()
    methods = ["pca", *further]
    known = _known(run / FOLDER / FILE, key, methods)
    if known is not None:
        return known
    components_MC = _components(unit_MF)
    found = {"pca": _scaled(components_MC[:, :2])} | {name: _embed(name, components_MC) for name in further}
    arrays: dict[str, Any] = {"key": key, **found}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)

    (run / FOLDER).mkdir(parents=True, exist_ok=True)
    write_atomically(run / FOLDER / FILE, write)
    return found


def sampled(count: int) -> Array:
    """Positions of the images that t-SNE or UMAP sees, ascending: all, or a seeded sample."""
    return np.sort(np.random.default_rng(0).permutation(count)[:SAMPLE])


def _known(path: Path, key: str, methods: Sequence[str]) -> dict[str, Array] | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in methods} if str(arrays["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _components(unit_MF: Array) -> Array:
    """The first principal components (M, C), two at least: zeros where the features have fewer."""
    from sklearn.decomposition import PCA

    if len(unit_MF) < 2:  # nothing varies
        return np.zeros((len(unit_MF), 2), np.float32)
    most = min(WIDTH, *unit_MF.shape)
    solver = "full" if max(unit_MF.shape) <= 500 else "randomized"
    components_MC = PCA(most, svd_solver=solver, random_state=0).fit_transform(unit_MF)
    return np.pad(components_MC, ((0, 0), (0, max(0, 2 - most)))).astype(np.float32)


def _embed(method: str, components_MC: Array) -> Array:
    sample_S = sampled(len(components_MC))
    if not np.ptp(components_MC[sample_S], axis=0).max() > 0:  # all of them one point: t-SNE would divide by nothing
        return np.zeros((len(components_MC), 2), np.float32)
    placed_S2 = _scaled(_reducer(method, len(sample_S)).fit_transform(components_MC[sample_S]))
    if len(sample_S) == len(components_MC):
        return placed_S2
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(components_MC[sample_S])
    distance_MJ, neighbours_MJ = nearest.kneighbors(components_MC)
    weight_MJ = 1 / np.maximum(distance_MJ, 1e-6)
    weight_MJ /= weight_MJ.sum(1, keepdims=True)
    placed_M2 = (placed_S2[neighbours_MJ] * weight_MJ[..., None]).sum(1)
    placed_M2[sample_S] = placed_S2
    return np.asarray(placed_M2, np.float32)


def _reducer(method: str, count: int) -> Any:
    """The estimator; its neighbourhoods are smaller than the sample."""
    if method == "umap":
        import umap

        return umap.UMAP(n_neighbors=min(15, count - 1), random_state=0)
    from sklearn.manifold import TSNE

    return TSNE(perplexity=min(30, (count - 1) / 3), init="pca", max_iter=500, random_state=0)


def _scaled(placed_M2: Array) -> Array:
    """Centred, the farthest coordinate at 1; one scale for both axes."""
    centred_M2 = placed_M2 - placed_M2.mean(0)
    scaled_M2: Array = (centred_M2 / max(float(np.abs(centred_M2).max()), 1e-12)).astype(np.float32)
    return scaled_M2
