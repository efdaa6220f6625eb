"""Some classes of ImageNet, from a folder that holds it or just these: train/<id>/*.JPEG, and val/<id>/*.JPEG.

ImageNet-10 and ImageNet-Dogs are the subsets of 10 and 15 classes on which clustering has been compared since
J. Chang et al., Deep Adaptive Image Clustering, ICCV 2017 (13,000 and 19,500 training images, 96 × 96). Their ids are
those of Contrastive Clustering (Li et al., AAAI 2021; datasets/ImageNet-10.txt and ImageNet-dogs.txt of
https://github.com/Yunfan-Li/Contrastive-Clustering); five other programs have the same ten and three the same
fifteen, whose names are also those of the clustering task of https://github.com/embeddings-benchmark/mteb.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from imcswav.data._files import Files, FilesConfig, Listing
from imcswav.data._wordnet import names_of, read_lines
from imcswav.errors import DataError
from imcswav.imaging.find import find_images
from imcswav.plugins import hookimpl

IMAGENET_10 = {
    "n02056570": "king penguin", "n02085936": "Maltese dog", "n02128757": "snow leopard", "n02690373": "airliner",
    "n02692877": "airship", "n03095699": "container ship", "n04254680": "soccer ball", "n04285008": "sports car",
    "n04467665": "trailer truck", "n07747607": "orange",
}  # fmt: skip
IMAGENET_DOGS = {
    "n02085936": "Maltese dog", "n02086646": "Blenheim spaniel", "n02088238": "basset",
    "n02091467": "Norwegian elkhound", "n02097130": "giant schnauzer", "n02099601": "golden retriever",
    "n02101388": "Brittany spaniel", "n02101556": "clumber", "n02102177": "Welsh springer spaniel",
    "n02105056": "groenendael", "n02105412": "kelpie", "n02105855": "Shetland sheepdog", "n02107142": "Doberman",
    "n02110958": "pug", "n02112137": "chow",
}  # fmt: skip
LISTS = {"imagenet_10": IMAGENET_10, "imagenet_dogs": IMAGENET_DOGS}


class ImageNetSubset(Files, name="imagenet_subset"):
    """The training images of some of ImageNet's classes; scored on themselves, as the published figures are."""

    class Config(FilesConfig):
        classes: Annotated[str, Field(min_length=1)] | tuple[str, ...]
        """"imagenet_10", "imagenet_dogs", a list of WordNet ids, or a text file with one id a line."""
        size: int = Field(96, ge=8, le=1024)
        """Side in pixels to which every image is brought."""
        validation: bool = False
        """Take val/<id>/ as test split and score that; off, as published, the training images are scored."""

        def resolved(self) -> Self:
            """With absolute paths."""
            changes: dict[str, object] = {"root": os.path.abspath(self.folder())}
            if isinstance(self.classes, str) and self.classes not in LISTS:
                changes["classes"] = os.path.abspath(os.path.expanduser(self.classes))
            return self.model_copy(update=changes)

        def listings(self) -> tuple[Listing, Listing | None]:
            """The files of the classes; raises DataError when a class has none, or an id is given twice."""
            root, ids = self.existing_folder(), self.ids()
            train = root / "train" if os.path.isdir(root / "train") else root
            return self._list(train, ids).thin(self.limit), self._list(root / "val", ids) if self.validation else None

        def ids(self) -> tuple[str, ...]:
            """The WordNet ids, sorted."""
            match self.classes:
                case str() as name if name in LISTS:
                    ids = tuple(LISTS[name])
                case str() as file:
                    lines = read_lines(Path(os.path.expanduser(file)), self._no_list)
                    ids = tuple(words[0] for words in lines)
                case given:
                    ids = given
            if len(ids) < 2 or len(set(ids)) < len(ids):
                raise DataError(f"data.classes has to hold two or more different ids, and holds {len(ids)}: {ids}.")
            return tuple(sorted(ids))

        def titles(self, classes: Sequence[str]) -> tuple[str, ...]:
            """Names of the known lists, or those in a file of names beside the images."""
            known = IMAGENET_10 | IMAGENET_DOGS
            beside = names_of(classes, self.folder() / "LOC_synset_mapping.txt", self.folder() / "words.txt")
            return tuple(known.get(name, title) for name, title in zip(classes, beside, strict=True))

        def _list(self, folder: Path, ids: Sequence[str]) -> Listing:
            paths, classes, missing = list[Path](), list[str](), list[str]()
            for name in ids:
                found = find_images(folder / name, self.channels) if os.path.isdir(folder / name) else []
                missing += [] if found else [name]
                paths += found
                classes += [name] * len(found)
            if missing:
                raise DataError(
                    f"{len(missing)} of the {len(ids)} classes have no images in '{folder}' (the first is "
                    f"{missing[0]}); it has to hold a folder of images for each id: set data.root or data.classes."
                )
            return Listing(folder, paths, classes, part=ids)

        def _no_list(self, why: str) -> DataError:
            return DataError(f"data.classes names no list ({', '.join(LISTS)}) and no good file of ids: {why}.")

    config: Config


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [ImageNetSubset]
