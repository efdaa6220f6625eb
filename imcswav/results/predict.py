"""Assign files to the clusters of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imcswav.errors import DataError, RunError
from imcswav.files import refuse_existing, write_csv
from imcswav.imaging.find import counted, find_files, printable
from imcswav.imaging.read import decode_many
from imcswav.learners import Embedding
from imcswav.model import BATCH, Model, joined
from imcswav.progress import stage


@dataclass(frozen=True)
class Predicted:
    """How many rows were written where, and what was left out."""

    rows: int
    out: Path
    skipped: Sequence[tuple[str, str]]
    skipped_file: Path
    others: Sequence[Path] = ()
    """Files in folders that aren't read as images."""


def predict_files(run: Path, images: Sequence[Path], out: Path, device: str = "auto") -> Predicted:
    """Write ``out`` (image, cluster, name, confidence), and beside ``labels.csv`` the unread ``labels.skipped.csv``.

    Clusters are numbered as the run's edits left them, −1 is an outlier; the column ``name`` is there where somebody
    named clusters.
    Raises RunError when the run has no model or ``out`` exists, DataError when no image can be read.
    """
    skipped_file = free(out)
    model = Model.load(run, device)
    paths, others = expanded(images, model.facts.channels)
    embedding, names, skipped = embed_files(model, paths)
    found = model.clustering(embedding)
    columns = {"image": names, "cluster": found.clusters_N.tolist()}
    if found.titles:
        columns["name"] = [found.title(cluster) for cluster in columns["cluster"]]
    columns["confidence"] = [f"{confidence:.4f}" for confidence in found.confidence_N]
    rows = list(zip(*columns.values(), strict=True))
    with writing(out):
        write_csv(out, tuple(columns), rows, new=True)
        if skipped:
            write_csv(skipped_file, ("image", "reason"), skipped, new=True)
    return Predicted(len(rows), out, skipped, skipped_file, others)


def free(out: Path) -> Path:
    """The file for what could not be read, ``NAME.skipped.csv``; raises RunError when it or ``out`` can't be made."""
    refuse_existing(out, given_by="--out")
    skipped_file = out.with_suffix(".skipped.csv")
    refuse_existing(skipped_file, given_by="--out")
    return skipped_file


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Make one sentence of what goes wrong with the disk."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{out} can't be written: {error.strerror or error}; give another --out.") from error


def embed_files(model: Model, paths: Sequence[Path]) -> tuple[Embedding, list[str], Sequence[tuple[str, str]]]:
    """Embedding of N files, their paths as given, and (path, reason) of unreadable ones.

    Decoded images of one batch at a time are held in memory. Raises DataError when no image can be read.
    """
    facts = model.facts
    parts, names, skipped = list[Embedding](), list[str](), list[tuple[str, str]]()
    with stage("Images", total=len(paths)) as advance:
        for start in range(0, len(paths), BATCH):
            some = paths[start : start + BATCH]
            decoded, kept, unread = decode_many(some, size=facts.size, channels=facts.channels, resize=facts.resize)
            skipped += unread
            if kept:
                parts.append(model.embed(decoded))
                names += [printable(some[index]) for index in kept]
            advance(len(some))
    if not parts:
        raise DataError(
            f"None of the {len(paths)} files can be read as an image; first: {skipped[0][0]}: {skipped[0][1]}."
        )
    return joined(parts), names, skipped


def expanded(images: Sequence[Path], channels: int) -> tuple[list[Path], list[Path]]:
    """Files, and those in folders by extension, then the folders' other files; raises DataError where none is found."""
    paths, others = list[Path](), list[Path]()
    for path in images:
        if path.is_dir():
            here, left = find_files(path, channels)
            paths += here
            others += left
        elif path.exists():
            paths.append(path)
        else:
            raise DataError(f"There is no file or folder {path}; check the path.")
    if not paths:
        only = f", only {counted(others)}" if others else ""
        raise DataError(
            f"There are no images in {', '.join(map(str, images))}{only}; give image files or a folder of them."
        )
    return paths, others
