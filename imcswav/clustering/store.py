"""``RUN/clustering/``: the clustering as the run left it, before any edit.

``arrays.npz`` has features and probabilities, ``images.json`` the rest: JSON, since paths may hold any bytes.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from imcswav.clustering import Clustering
from imcswav.errors import RunError
from imcswav.files import write_atomically
from imcswav.runs import RunFolder

FOLDER = "clustering"
FORMAT = 1
TEXTS = ("names", "splits", "labels", "root", "paths")


def save(clustering: Clustering, run: Path) -> None:
    """Write both files, each atomically; raises OSError."""
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: getattr(clustering, name) for name in TEXTS}
    table = {"format": FORMAT, "ids": clustering.ids, "duplicates": [*clustering.duplicates.items()], **texts}
    text = json.dumps(table)  # ASCII: bytes of a path that are no UTF-8 come back as they were
    write_atomically(folder / "images.json", lambda path: path.write_text(text, encoding="ascii"))

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, features=clustering.features_NF, probabilities=clustering.probabilities_NK)

    write_atomically(folder / "arrays.npz", write)


def load_unedited(run: Path) -> Clustering:
    """The clustering as the run left it; raises RunError where there is none or it can't be read."""
    folder = run / FOLDER
    if not run.is_dir():
        raise RunError(f"There is no folder {run}; name a run's.")
    if not folder.exists():
        RunFolder.open(run)
        raise RunError(f"{run} holds no clustering yet; make it with: imcswav report {quote(str(run))}")
    try:
        table: dict[str, Any] = json.loads((folder / "images.json").read_text(encoding="ascii"))
        if table["format"] != FORMAT:
            raise RunError(f"{folder} is of format {table['format']}, this imcswav reads {FORMAT}; upgrade it.")
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            features_NF, probabilities_NK = arrays["features"], arrays["probabilities"]
        texts = {name: table[name] for name in TEXTS}
        return Clustering(
            features_NF=features_NF, probabilities_NK=probabilities_NK, ids=tuple(table["ids"]),
            duplicates={int(image): int(first) for image, first in table["duplicates"]}, **texts,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{run} holds no readable clustering ({error}); move {folder} away and make one with: "
            f"imcswav report {quote(str(run))}"
        ) from error


def load(run: Path) -> Clustering:
    """The clustering with the edits that were made since; raises RunError where either can't be read."""
    from imcswav.clustering.edits.kept import Kept

    clustering, kept = load_unedited(run), Kept.read(run / "model")
    return kept.applied(clustering) if kept else clustering
