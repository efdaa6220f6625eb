"""CIFAR-10. Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009."""

from __future__ import annotations

from imcswav.data._cifar import Cifar, CifarConfig
from imcswav.plugins import hookimpl

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Cifar10(Cifar, name="cifar10"):
    """50,000 training and 10,000 test images of ten classes, RGB, 32 × 32."""

    class Config(CifarConfig):
        reader = "CIFAR10"
        title = "CIFAR-10"
        mean = (0.4914, 0.4822, 0.4465)
        std = (0.2023, 0.1994, 0.2010)

        def classes(self) -> tuple[str, ...]:
            """The ten names."""
            return CLASSES

    config: Config


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [Cifar10]
