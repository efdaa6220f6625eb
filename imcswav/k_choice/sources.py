"""Features to choose K from: of a run, a folder of images, or an archive that `imcswav features` wrote."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from imcswav.clusterers import Array
from imcswav.clustering import Clustering
from imcswav.clustering.store import FOLDER
from imcswav.errors import DataError, ImcswavError
from imcswav.k_choice import SAMPLE
from imcswav.model import Model
from imcswav.protocol import training_data
from imcswav.runs import RunFolder, refuse_many


def features_of(source: Path, device: str = "auto", backbone: str | None = None) -> Array:
    """Features (N, F) of a run folder, a folder of images or an ``.npz`` file; no label is read.

    A run gives those of its ``clustering/``, else its model embeds at most ``SAMPLE`` of its training images; a folder
    of images those of ``backbone``, as `imcswav cluster`. Raises DataError for what is none of these or can't be read,
    RunError for a run without model, WeightsError where a backbone's weights can't be had.
    """
    refuse_many(source)
    if backbone is not None and (source.is_file() or (source / "recipe.toml").is_file()):
        raise ImcswavError(f"{source} has features of its own; leave out --backbone, which is for a folder of images.")
    if source.is_file():
        return _of_archive(source)
    if (source / FOLDER / "images.json").is_file():
        return Clustering.of(source).features_NF
    if (source / "recipe.toml").is_file():
        return _embedded(source, device)
    if source.is_dir():
        from imcswav.clustering.folder import folder_features

        return folder_features(source, backbone, device)
    raise DataError(f"There is no {source}; give a folder of images, a run folder, or an .npz of `imcswav features`.")


def _of_archive(path: Path) -> Array:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            features_NF: Array = arrays["features"]
        if not isinstance(features_NF, np.ndarray):  # NumPy hands out the bytes of an entry that isn't one
            raise TypeError("the entry is something else")
    except (OSError, ValueError, KeyError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} holds no array 'features' ({error}); write one with `imcswav features`.") from error
    return features_NF


def _embedded(run: Path, device: str) -> Array:
    """The same images for every seed, so that only their clustering differs."""
    images = training_data(RunFolder.open(run).recipe()).readable().train.images
    rows_N = np.sort(np.random.default_rng(0).permutation(len(images))[:SAMPLE])
    embedding = Model.load(run, device).embed(images[torch.from_numpy(rows_N)])
    return np.asarray(embedding.features.cpu().numpy())
