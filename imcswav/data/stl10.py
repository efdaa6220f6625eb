"""STL-10: 5,000 labelled and 100,000 unlabelled training images and 8,000 test images of ten classes, RGB, 96 × 96.

Source: A. Coates, H. Lee, A. Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011,
https://cs.stanford.edu/~acoates/stl10. The unlabelled images also show other animals and vehicles.
"""

from __future__ import annotations

import dataclasses
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imcswav.data import Data, Split, blind_subset
from imcswav.data._archive import ArchiveConfig
from imcswav.imaging.read import empty_images
from imcswav.plugins import hookimpl

CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
LABELLED, UNLABELLED, SIDE = 5_000, 100_000, 96
CHUNK = 1024


class Stl10(Data, name="stl10"):
    """Both training parts as one split, labels −1 for the unlabelled; the subset "labelled" is the labelled part.

    ``mean`` and ``std`` are the constants published with IMC-SwAV. In memory 2.9 GB, or 0.14 GB without the
    unlabelled images.
    """

    class Config(ArchiveConfig):
        reader = "STL10"
        title = "STL-10"
        page = "https://cs.stanford.edu/~acoates/stl10"
        side = SIDE
        tests = 8_000
        mean = (0.43, 0.42, 0.39)
        std = (0.27, 0.26, 0.27)

        unlabelled: bool = True
        """Train on the 100,000 unlabelled images too; off, on the 5,000 of the labelled part alone."""

        def count(self) -> int:
            """105,000 or 5,000."""
            return LABELLED + UNLABELLED * self.unlabelled

        def classes(self) -> tuple[str, ...]:
            """The ten names."""
            return CLASSES

        def subsets(self) -> dict[str, int]:
            """The labelled part, which comes first."""
            return {"labelled": sum(index < LABELLED for index in blind_subset(self.count(), self.limit))}

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.class_names = CLASSES
        self.mean, self.std = self.config.mean, self.config.std
        (train, labels), unlabelled, test = self._files()
        parts = [train, unlabelled] if self.config.unlabelled else [train]
        self.train = _split(parts, labels, self.config.limit)
        self.test = dataclasses.replace(_split([test[0]], test[1], None), subsets={})

    def _files(self) -> tuple[tuple[Path, Path], Path, tuple[Path, Path]]:
        """Images and labels of training, unlabelled images, images and labels of test; all there and unchanged."""
        from torchvision.datasets.utils import check_integrity, download_and_extract_archive

        source, root = self.config.torchvision_class(), self.config.folder()
        folder = root / source.base_folder
        entries = [*source.train_list, *source.test_list]
        needed = [(folder / name, md5) for name, md5 in entries if self.config.unlabelled or "unlabeled" not in name]

        def wrong() -> list[str]:
            return [path.name for path, md5 in needed if not check_integrity(path, md5)]

        broken = wrong()
        if broken and self.config.download:
            try:
                download_and_extract_archive(source.url, root, filename=source.filename, md5=source.tgz_md5)
            except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
                raise self.config.failed(error) from error
            broken = wrong()
        if broken:
            raise self.config.missing(f"{', '.join(broken)} missing or damaged in {folder}")
        images, labels, unlabelled, test, test_labels = (folder / name for name, _ in entries)
        return (images, labels), unlabelled, (test, test_labels)


def _split(parts: list[Path], labels: Path, limit: int | None) -> Split:
    """The images of the files one after another; labels, 1 … 10 on disk, are those of the first file."""
    sources = [np.memmap(path, np.uint8, mode="r").reshape(-1, 3, SIDE, SIDE) for path in parts]
    known = np.fromfile(labels, np.uint8).astype(np.int64) - 1
    counts = [len(source) for source in sources]
    chosen = np.array(blind_subset(sum(counts), limit))
    images_NCHW, names, start = empty_images(len(chosen), 3, SIDE), list[str](), 0
    pixels = images_NCHW.numpy()
    for path, source in zip(parts, sources, strict=True):
        rows = chosen[(chosen >= start) & (chosen < start + len(source))] - start
        for first in range(0, len(rows), CHUNK):  # in pieces: only the pages of one are held beside the images
            piece = rows[first : first + CHUNK]
            pixels[len(names) : len(names) + len(piece)] = source[piece].swapaxes(2, 3)  # stored column by column
            names += [f"{path.stem}/{row}" for row in piece]
        start += len(source)
    labels_N = np.full(sum(counts), -1)
    labels_N[: counts[0]] = known
    labelled = torch.from_numpy(chosen < counts[0])
    return Split(images_NCHW, names, torch.from_numpy(labels_N[chosen]), {"labelled": labelled})


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [Stl10]
