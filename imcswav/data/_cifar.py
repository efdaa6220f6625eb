"""What CIFAR-10 and CIFAR-100 share: torchvision's reader, which checks a file's md5 before unpickling it."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from imcswav.data import Data, DataFacts, Split, blind_subset
from imcswav.errors import DataError

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


class CifarConfig(Data.Config):
    """Settings of both; a subclass says which of torchvision's classes reads it."""

    reader: ClassVar[str]
    title: ClassVar[str]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]

    root: str = Field("data", min_length=1)
    """Folder that holds the data set's own folder, or gets it; relative to the working directory."""
    download: bool = True
    """Fetch the archive into ``root`` when it isn't there."""

    limit: int | None = Field(None, ge=2)
    """Train on this many images, drawn evenly and always the same ones."""

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        raise NotImplementedError

    def facts(self) -> DataFacts:
        """50,000 (or ``limit``) RGB images of 32 × 32; raises DataError when missing and not to be downloaded."""
        folder = self.folder() / self.torchvision_class().base_folder
        if not self.download and not folder.is_dir():
            raise self.missing(f"{folder} is not there and download is off")
        return DataFacts(min(50_000, self.limit or 50_000), 3, 32, self.mean, self.std)

    def resolved(self) -> Self:
        """With an absolute root."""
        return self.model_copy(update={"root": os.path.abspath(self.folder())})

    def folder(self) -> Path:
        """The root with "~" replaced."""
        return Path(os.path.expanduser(self.root))

    def torchvision_class(self) -> Any:
        """The class of torchvision that reads the files."""
        from torchvision import datasets

        return getattr(datasets, self.reader)

    def missing(self, why: str) -> DataError:
        """The error for files that aren't there."""
        source = self.torchvision_class()
        return DataError(
            f"{self.title} can't be read from '{self.root}' ({why}); unpack {source.filename} from {PAGE} so "
            f"that '{self.root}' holds the folder {source.base_folder}, or use a copy in single image files "
            f'with the data set "image_folder".'
        )


class Cifar(Data):
    """A CIFAR data set: 50,000 training and 10,000 test images, RGB, 32 × 32.

    ``mean`` and ``std`` are the constants published with IMC-SwAV, which aren't quite the pixel statistics.
    """

    config: CifarConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.class_names = config.classes()
        self.mean, self.std = config.mean, config.std
        self.train, self.test = self._split(train=True), self._split(train=False)

    def labels(self, targets_N: Tensor) -> Tensor:
        """Labels (N,) from those in the files."""
        return targets_N

    def _split(self, *, train: bool) -> Split:
        reader = self.config.torchvision_class()
        try:
            source = reader(self.config.folder(), train=train, download=self.config.download)
        except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise self.config.missing(f"{type(error).__name__}: {reason}") from error
        chosen = blind_subset(len(source.data), self.config.limit if train else None)
        images_NCHW = torch.from_numpy(np.ascontiguousarray(source.data[chosen].transpose(0, 3, 1, 2)))
        return Split(images_NCHW, [str(index) for index in chosen], self.labels(torch.tensor(source.targets)[chosen]))
