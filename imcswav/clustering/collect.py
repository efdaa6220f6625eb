"""From what a run's network assigned to its ``Clustering``, and everything that is made of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from imcswav.clustering import Clustering
from imcswav.clustering.store import load, save
from imcswav.clustering.tables import write_tables
from imcswav.clustering.thumbnails import make_thumbnails
from imcswav.data import Data
from imcswav.errors import DataError, RunError
from imcswav.evaluate import Assessment, Assigned, assess
from imcswav.model import Model
from imcswav.protocol import origins, training_data
from imcswav.quality.report import read_duplicates
from imcswav.recipe import Recipe
from imcswav.report import write_report
from imcswav.results.artefacts import label_name
from imcswav.results.assignments import keyed, read_clusters
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

    ``root``: where their folder is now, if it was moved. Raises RunError where they are in no folder, DataError where
    there is no such folder or images of the run aren't in it.
    """
    folder = RunFolder.open(run)
    recipe = _with_root(folder, root)
    model = Model.load(run, device)
    data = training_data(recipe)
    if root is not None:
        _refuse_other_images(data, run, root)
    return record(folder.path, data, assess(model, data, recipe, fit_clusterer=False), read_duplicates(run))


def _with_root(folder: RunFolder, root: Path | None) -> Recipe:
    """The run's recipe, its images where they are now."""
    data: Any = folder.recipe().data
    if root is not None and not hasattr(data, "root"):
        name = data.owner.name
        raise RunError(f"The images of {folder.path} are of the data '{name}' and in no folder; leave out --root.")
    place = root or (data.folder() if hasattr(data, "existing_folder") else None)  # what is no archive to unpack
    if place is not None and not os.path.isdir(place):
        raise DataError(
            f"The images of {folder.path} are to be in '{place}', and there is no such folder; name the one that they "
            f"were moved to by --root."
        )
    return folder.recipe() if root is None else folder.recipe({"data.root": str(root)})


def _refuse_other_images(data: Data, run: Path, root: Path) -> None:
    """What a run says of its images, edits too, must not be overwritten by what others give."""
    parts = {name: split for name, split in (("train", data.train), ("test", data.test)) if split is not None}
    splits = [origin for name, split in parts.items() for origin in origins(split, name)]
    there = set(keyed(splits, [name for split in parts.values() for name in split.names]))
    assigned = read_clusters(run)
    if missing := [key for key in assigned if key not in there]:
        raise DataError(
            f"{len(missing)} of the run's {len(assigned)} images aren't in '{root}' ({missing[0][1]} …); give the "
            f"folder that was moved, with all of them."
        )


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
