"""What CIFAR-10 and CIFAR-100 share: torchvision's reader, which checks a file's md5 before unpickling it."""

from __future__ import annotations

import tarfile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imcswav.data import Data, Split, blind_subset
from imcswav.data._archive import ArchiveConfig


class CifarConfig(ArchiveConfig):
    """Settings of both."""

    page = "https://www.cs.toronto.edu/~kriz/cifar.html"
    side = 32
    tests = 10_000

    def count(self) -> int:
        """50,000."""
        return 50_000


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
            raise self.config.failed(error) from error
        chosen = blind_subset(len(source.data), self.config.limit if train else None)
        images_NCHW = torch.from_numpy(np.ascontiguousarray(source.data[chosen].transpose(0, 3, 1, 2)))
        return Split(images_NCHW, [str(index) for index in chosen], self.labels(torch.tensor(source.targets)[chosen]))
