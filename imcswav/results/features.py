"""Features by the network of a run, of files or of the run's own images, for whatever comes after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imcswav.clusterers import Array
from imcswav.files import write_atomically, write_csv
from imcswav.model import Model
from imcswav.protocol import training_data
from imcswav.results.predict import Predicted, embed_files, expanded, free, writing
from imcswav.runs import RunFolder


@dataclass(frozen=True)
class RunFeatures:
    """The images that a run is scored on, by its network."""

    features_NF: Array
    """float32 (N, F)."""
    labels_N: Array | None
    """Ground truth int64 (N,), −1 where unknown; None where there is none. For scoring, not for learning from."""
    names: Sequence[str]
    """Of the N images."""
    class_names: tuple[str, ...]
    """Of the labels; may be empty."""


def run_features(run: str | Path, device: str = "auto") -> RunFeatures:
    """Features of the images that a finished run is scored on: its test images where there are some, else all.

    Raises RunError when there is no finished run, DataError when its data can't be read again.
    """
    data = training_data(RunFolder.open(run).recipe()).readable()
    split = data.test or data.train
    features_NF = Model.load(run, device).embed_kept(split.images).features.cpu().numpy()
    labels_N = None if split.labels is None else split.labels.cpu().numpy()
    return RunFeatures(features_NF, labels_N, split.names, data.class_names)


def write_features(run: Path, images: Sequence[Path], out: Path, device: str = "auto") -> Predicted:
    """Write ``out``, a NumPy archive, and beside ``feats.npz`` a ``feats.skipped.csv`` of files that can't be read.

    The archive holds ``features`` float32 (N, F), ``paths`` (N,) as given, and ``probabilities`` float32 (N, K) where
    something in the model assigns clusters, edited as the run's are. Raises RunError when the run has no model or
    ``out`` exists, DataError when no image can be read.
    """
    skipped_file = free(out)
    model = Model.load(run, device)
    paths, others = expanded(images, model.facts.channels)
    embedding, names, skipped = embed_files(model, paths)
    arrays: dict[str, Any] = {"features": embedding.features.cpu().numpy(), "paths": np.array(names)}
    if model.clusterer is not None or embedding.probabilities is not None:
        arrays["probabilities"] = model.clustering(embedding).probabilities_NK

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # a path of another suffix would get ".npz" behind it
            np.savez(file, **arrays)

    with writing(out):
        write_atomically(out, write, new=True)
        if skipped:
            write_csv(skipped_file, ("image", "reason"), skipped, new=True)
    return Predicted(len(names), out, skipped, skipped_file, others)
