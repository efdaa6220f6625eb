"""From what a run's network assigned to its ``Clustering``, and everything that is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from imcswav.clustering import Clustering
from imcswav.clustering.store import load, save
from imcswav.clustering.tables import write_tables
from imcswav.clustering.thumbnails import make_thumbnails
from imcswav.data import Data
from imcswav.errors import RunError
from imcswav.evaluate import Assessment, Assigned, assess
from imcswav.model import Model
from imcswav.protocol import origins, training_data
from imcswav.report import write_report
from imcswav.results.artefacts import label_name
from imcswav.runs import RunFolder


def record(run: Path, data: Data, assessment: Assessment, duplicates: Mapping[str, str] | None = None) -> list[Path]:
    """Write ``clustering/``, ``labels.csv``, ``clusters.csv`` and ``report.html`` into a run folder.

    ``duplicates``: name of an image → name of the image that it nearly equals. Returns where files went that somebody
    had changed. Raises RunError where nothing assigned clusters.
    """
    clustering = gather(data, assessment, duplicates or {})
    save(clustering, run)
    make_thumbnails(clustering, run, images(assessment))
    clustering = load(run)  # with the edits, where there are some already
    aside = [*write_tables(clustering, run), write_report(clustering, run)]
    return [path for path in aside if path is not None]


def collect(run: Path, device: str = "auto", root: Path | None = None) -> list[Path]:
    """The same for a finished run that has none yet: its model assigns the images of its recipe once more.

    ``root``: where their folder is now, if it was moved.
    """
    folder = RunFolder.open(run)
    recipe = folder.recipe() if root is None else folder.recipe({"data.root": str(root)})
    model = Model.load(run, device)
    data = training_data(recipe)
    return record(folder.path, data, assess(model, data, recipe, fit_clusterer=False))


def gather(data: Data, assessment: Assessment, duplicates: Mapping[str, str]) -> Clustering:
    """All images of both splits, test images last."""
    parts = {name: part for name, part in (("train", assessment.train), ("test", assessment.test)) if part is not None}
    probabilities = [part.probabilities for part in parts.values() if part.probabilities is not None]
    if len(probabilities) < len(parts):
        raise RunError("Nothing in this run assigns clusters: its recipe has no classifier and no clusterer.")
    splits = [origin for name, part in parts.items() for origin in origins(part.split, name)]
    names = _unique([name for part in parts.values() for name in part.split.names], splits)
    place = {name: image for image, name in enumerate(names)}
    labels = [label for part in parts.values() for label in _labels(part, data.class_names)]
    return Clustering(
        names=names,
        features_NF=np.concatenate([part.features.cpu().numpy() for part in parts.values()]).astype(np.float32),
        probabilities_NK=np.concatenate(probabilities).astype(np.float32),
        ids=tuple(range(probabilities[0].shape[1])),
        splits=splits,
        labels=labels if any(labels) else (),
        root=data.folder,
        paths=[file for part in parts.values() for file in part.split.files],
        duplicates={place[name]: place[first] for name, first in duplicates.items() if {name, first} <= place.keys()},
    )


def images(assessment: Assessment) -> Iterator[Tensor]:
    """Decoded images uint8 (C, H, W), in the order of ``gather``'s."""
    for part in (assessment.train, assessment.test):
        if part is not None:
            for batch_BCHW in part.split.images.split(256):
                yield from batch_BCHW.cpu()


def _labels(part: Assigned, class_names: Sequence[str]) -> list[str]:
    labels = part.labels
    return [label_name(labels, image, class_names) for image in range(len(part.split))]


def _unique(names: Sequence[str], splits: Sequence[str]) -> list[str]:
    """The split before every name, where one occurs in two splits."""
    if len(set(names)) == len(names):
        return list(names)
    return [f"{split}/{name}" for split, name in zip(splits, names, strict=True)]
