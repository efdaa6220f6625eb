"""A run's files sorted into one folder a cluster, as copies or links; the originals stay where they are."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from imcswav.clustering import OUTLIER, Clustering
from imcswav.errors import DataError, RunError
from imcswav.progress import stage
from imcswav.runs import refuse_filled

How = Literal["copy", "link"]
LONGEST = 255
"""Bytes of a file name that file systems take."""


def sort_files(clustering: Clustering, target: Path, how: How, *, skip_missing: bool = False) -> list[Path]:
    """Copy or link every file into ``target/NN title/``; gives those that are gone and were left out.

    ``target`` has to be new or empty. Files of one name in one cluster get a number behind their names. Raises
    DataError where the images are no files, none is there any more or, without ``skip_missing``, one is gone; RunError
    where ``target`` can't be written.
    """
    if not clustering.paths:
        raise DataError("The images of this run are no files, so they can't be sorted into folders.")
    refuse_filled(target)
    put = shutil.copy2 if how == "copy" else _link
    places = list(_places(clustering, target))
    lost = [source for source, _ in places if not source.exists()]
    if lost and (not skip_missing or len(lost) == len(places)):
        raise DataError(
            f"{len(lost):,} of {len(places):,} files are gone, such as {lost[0]}; bring them back, leave them out with "
            f"--skip-missing, or say where they all are: imcswav sort RUN --root FOLDER."
        )
    gone = set(lost)
    places = [(source, place) for source, place in places if source not in gone]
    with stage("Sorting files", total=len(places)) as advance:
        for source, place in places:
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                put(source, place)
            except FileNotFoundError as error:
                raise DataError(f"{source} is gone; what was sorted before it stays in {target}.") from error
            except OSError as error:
                raise RunError(f"{place} can't be written: {error.strerror or error}.") from error
            advance()
    return lost


def folder_name(clustering: Clustering, cluster: int) -> str:
    """``03 deer``, with enough digits that folders sort by number; ``outliers``."""
    if cluster == OUTLIER:
        return "outliers"
    number = f"{cluster:0{len(str(max(clustering.ids)))}d}"
    title = re.sub(r'[\x00-\x1f/\\:*?"<>|]+', "_", clustering.titles.get(cluster, "")).strip(" .")
    return f"{number} {_shortened(title, LONGEST - len(number) - 1)}".strip()


def _places(clustering: Clustering, target: Path) -> Iterator[tuple[Path, Path]]:
    folders = {cluster: target / folder_name(clustering, cluster) for cluster in (*clustering.ids, OUTLIER)}
    taken: set[tuple[int, str]] = set()  # some file systems take A.jpg and a.jpg for one
    last: dict[tuple[int, str], int] = {}
    for image, cluster in enumerate(clustering.clusters_N.tolist()):
        source = Path(clustering.root, clustering.paths[image])
        name, first = source.name, (cluster, source.name.casefold())
        number = last.get(first, 1)
        while (cluster, name.casefold()) in taken:
            number += 1
            ending = f" ({number}){source.suffix}"
            name = _shortened(source.stem, LONGEST - len(os.fsencode(ending))) + ending
        last[first] = number
        taken.add((cluster, name.casefold()))
        yield source, folders[cluster] / name


def _shortened(text: str, most: int) -> str:
    """The text in at most so many bytes."""
    return text.encode("utf-8", "surrogateescape")[:most].decode("utf-8", "surrogateescape")


def _link(source: Path, place: Path) -> None:
    place.symlink_to(source.absolute())
