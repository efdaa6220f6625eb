"""No network: the pixels of an image are its features."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from imcswav.backbones import Backbone
from imcswav.plugins import hookimpl


class Pixels(Backbone, name="pixels"):
    """Every pixel of a normalised image, channel by channel and row by row: F = C·S². It has no weights.

    With the learner ``frozen`` and a clusterer it makes a recipe without any network. Images of another size than S,
    such as crops, are first resized to S × S (bilinear, with a filter against aliasing), so that features of all are
    alike.
    """

    def __init__(self, config: Any, *, channels: int, image_size: int) -> None:
        super().__init__(config)
        self.image_size = image_size
        self.features = channels * image_size**2

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Features (M, F)."""
        size = (self.image_size, self.image_size)
        if images_MCHW.shape[-2:] != size:
            images_MCHW = functional.interpolate(images_MCHW, size, mode="bilinear", antialias=True)
        return images_MCHW.flatten(1)


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Pixels]
