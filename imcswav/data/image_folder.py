"""A folder of images, nested or flat, in any format Pillow reads.

photos/cat/1.jpg            classes are the first folders, when all images lie in two or more of them
photos/train/…              train/ and test/ (or val/) are splits, each with or without class folders
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from imcswav.data._files import Files, FilesConfig, Listing
from imcswav.errors import DataError, Problem
from imcswav.imaging.find import count_images, find_files, printable
from imcswav.plugins import hookimpl

NAMES_SHOWN = 5
"""How many folders a warning names."""


class ImageFolder(Files, name="image_folder"):
    """Images below ``root``, named by their path relative to it; ``skipped`` has the unreadable ones."""

    class Config(FilesConfig):
        splits: Literal["auto", "none"] = "auto"
        """"auto" takes train/ and test/ (or val/) below the root as splits; "none" takes all as one."""
        duplicates: Literal["keep", "drop"] = "keep"
        """"drop" leaves out the training images that show the same as another one (`imcswav inspect` lists them)."""
        labels: Literal["auto", "none"] = "auto"
        """"auto" takes class folders as ground truth for evaluation; "none" knows no ground truth."""

        def listings(self) -> tuple[Listing, Listing | None]:
            """The training and the test files, nothing decoded; raises DataError as ``facts``."""
            root = self.existing_folder()
            if self.splits == "none" or not os.path.isdir(root / "train"):
                return self._train(root), None
            tests = [root / name for name in ("test", "val") if os.path.isdir(root / name)]
            return self._train(root / "train"), self._list(tests[0]) if tests else None

        def _train(self, folder: Path) -> Listing:
            part = () if self.duplicates == "keep" else ("no duplicates",)
            return dataclasses.replace(self._list(folder).thin(self.limit), part=part)

        def _list(self, folder: Path) -> Listing:
            paths, others = find_files(folder, self.channels)
            if not paths:
                raise self._nothing(folder, others)
            inside = [path.relative_to(folder).parts for path in paths]
            classes = [parts[0] for parts in inside if len(parts) > 1]
            labelled = self.labels == "auto" and len(classes) == len(paths) and len(set(classes)) > 1
            return Listing(folder, paths, classes if labelled else None, others)

        def _nothing(self, folder: Path, others: list[Path]) -> DataError:
            kind = "images (.jpg, .png, .webp …)" if self.channels in (1, 3) else ".npy files"
            seen = f", only files of other kinds such as {printable(others[0].relative_to(folder))}" if others else ""
            return DataError(
                f"There are no {kind} in '{folder}' or below it{seen}; put some there or change data.root."
            )

        def oddities(self, listing: Listing) -> list[Problem]:
            """Other files, and images beside class folders, which keep these from being ground truth."""
            problems = super().oddities(listing)
            if listing.classes is not None or self.labels == "none":
                return problems
            inside = [path.relative_to(listing.folder).parts for path in listing.paths]
            loose, classes = [parts[0] for parts in inside if len(parts) == 1], {p[0] for p in inside if len(p) > 1}
            if loose and len(classes) > 1:
                message = (
                    f"{len(loose)} of {len(inside)} images lie in {listing.folder} itself beside folders "
                    f"(the first is {printable(loose[0])}), so the folders are no ground truth."
                )
                remedy = 'Move them into folders, or set labels = "none".'
                problems.append(Problem("data.root", message, remedy, severity="warning"))
            return problems

        def left_out(self, train: Listing, test: Listing | None) -> str:
            """Images beside the folders of the splits: a class called "train" makes its neighbours that."""
            root, taken = self.folder(), [split.folder for split in (train, test) if split is not None]
            if root in taken:
                return ""
            counts = {name: count_images(root / name, self.channels) for name in _beside(root, taken)}
            count, names = sum(counts.values()), [printable(name) for name in counts if counts[name]]
            if not names:
                return ""
            what = f"{count} images" if count > 1 else "1 image"
            where = " and ".join(folder.name for folder in taken)
            shown = ", ".join(names[:NAMES_SHOWN]) + (" …" if len(names) > NAMES_SHOWN else "")
            return (
                f"{what} beside {where} {'are' if count > 1 else 'is'} left out ({shown}); "
                'set data.splits = "none" to take all as one.'
            )

        def distinct(self, train: Listing) -> Listing:
            """Without duplicates, if so wanted; the largest image of those that show the same stays."""
            if self.duplicates == "keep":
                return train
            from imcswav.quality import inspect_once

            doubles = {one.image for one in inspect_once(train.paths, train.folder).duplicates}
            return train.select([index for index in range(len(train.paths)) if index not in doubles])

    config: Config


def _beside(root: Path, taken: Sequence[Path]) -> list[str]:
    """What the root holds beside the folders taken; links into these, or to what the root lies in, are nothing new."""
    real = [Path(os.path.realpath(folder)) for folder in (*taken, root)]
    try:
        names = sorted(os.listdir(root))
    except OSError:  # its folders can be read all the same
        return []
    places = {name: Path(os.path.realpath(root / name)) for name in names if not name.startswith(".")}
    return [
        name
        for name, place in places.items()
        if not any(place.is_relative_to(folder) for folder in real[:-1]) and not real[-1].is_relative_to(place)
    ]


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [ImageFolder]
