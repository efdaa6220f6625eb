"""Features of files by the network of a run, for whatever comes after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imcswav.files import write_atomically, write_csv
from imcswav.model import Model
from imcswav.results.predict import Predicted, free, read_files, writing


def write_features(run: Path, images: Sequence[Path], out: Path, device: str = "auto") -> Predicted:
    """Write ``out``, a NumPy archive, and beside ``feats.npz`` a ``feats.skipped.csv`` of files that can't be read.

    The archive holds ``features`` float32 (N, F), ``paths`` (N,) as given, and ``probabilities`` float32 (N, K) where
    something in the model assigns clusters, edited as the run's are. Raises RunError when the run has no model or
    ``out`` exists, DataError when no image can be read.
    """
    skipped_file = free(out)
    model = Model.load(run, device)
    decoded, names, skipped = read_files(model, images)
    embedding = model.embed(decoded)
    arrays: dict[str, Any] = {"features": embedding.features.cpu().numpy(), "paths": np.array(names)}
    if model.clusterer is not None or embedding.probabilities is not None:
        arrays["probabilities"] = model.clustering(embedding).probabilities_NK

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # a path of another suffix would get ".npz" behind it
            np.savez(file, **arrays)

    with writing(out):
        write_atomically(out, write)
        if skipped:
            write_csv(skipped_file, ("image", "reason"), skipped)
    return Predicted(len(names), out, skipped, skipped_file)
