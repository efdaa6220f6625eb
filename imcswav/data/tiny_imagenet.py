"""Tiny-ImageNet: 100,000 training and 10,000 validation images of 200 classes, RGB, 64 × 64.

    tiny-imagenet-200/train/<id>/images/*.JPEG      500 a class, one folder a WordNet id
    tiny-imagenet-200/val/images/*.JPEG             their ids are in val/val_annotations.txt
    tiny-imagenet-200/wnids.txt, words.txt          the 200 ids, and names of them

Source: Stanford CS231N, http://cs231n.stanford.edu/tiny-imagenet-200.zip; images of ImageNet, Deng et al., 2009.
Clusters are scored on the validation images: the labels of test/ were never given out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from imcswav.data._files import Files, FilesConfig, Listing
from imcswav.data._wordnet import names_of, read_lines
from imcswav.errors import DataError
from imcswav.imaging.find import find_images, printable
from imcswav.plugins import hookimpl

FOLDER, URL = "tiny-imagenet-200", "http://cs231n.stanford.edu/tiny-imagenet-200.zip"


class TinyImageNet(Files, name="tiny_imagenet"):
    """Its training images, and its validation images as test split; ``mean`` and ``std`` are ImageNet's constants."""

    class Config(FilesConfig):
        mean = (0.485, 0.456, 0.406)
        std = (0.229, 0.224, 0.225)

        root: str = Field("data", min_length=1)
        """The folder tiny-imagenet-200, or the one that holds it; relative to the working directory."""
        size: int = Field(64, ge=8, le=1024)
        """Side in pixels to which every image is brought."""

        def folder(self) -> Path:
            """The data set's own folder where it is there, else the root."""
            root = super().folder()
            return root / FOLDER if os.path.isdir(root / FOLDER) else root

        def listings(self) -> tuple[Listing, Listing | None]:
            """All training and validation files; raises DataError when a part of the data set is missing."""
            return self._train().thin(self.limit), self._validation()

        def titles(self, classes: Sequence[str]) -> tuple[str, ...]:
            """The names in words.txt."""
            return names_of(classes, self.folder() / "words.txt")

        def _train(self) -> Listing:
            folder = self.folder()
            if not os.path.isdir(folder / "train"):
                raise self._missing(f"{folder / 'train'} is not there")
            ids = [words[0] for words in read_lines(folder / "wnids.txt", self._missing)]
            paths, classes = list[Path](), list[str]()
            for name in sorted(ids):
                inside = folder / "train" / name / "images"
                found = find_images(inside, self.channels) if os.path.isdir(inside) else []
                if not found:
                    raise self._missing(f"there are no images in {inside}")
                paths += found
                classes += [name] * len(found)
            return Listing(folder / "train", paths, classes)

        def _validation(self) -> Listing:
            folder = self.folder() / "val"
            lines = read_lines(folder / "val_annotations.txt", self._missing, least=2)
            known = {words[0]: words[1] for words in lines}
            paths = find_images(folder / "images", self.channels) if os.path.isdir(folder / "images") else []
            unknown = [path.name for path in paths if path.name not in known]
            if not paths or unknown:
                why = f"val_annotations.txt has no line for {printable(unknown[0])}" if unknown else "it has no images"
                raise self._missing(f"{folder / 'images'}: {why}")
            return Listing(folder, paths, [known[path.name] for path in paths])

        def _missing(self, why: str) -> DataError:
            return DataError(
                f"Tiny-ImageNet can't be read from '{self.root}' ({why}); unpack {URL} and set data.root to the folder "
                f"{FOLDER} or the one that holds it."
            )

    config: Config


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [TinyImageNet]
