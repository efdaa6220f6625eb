"""A network of two convolutions, for small images."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from imcswav.backbones import Backbone
from imcswav.plugins import hookimpl


class Mine(Backbone, name="mine"):
    """Two 3 × 3 convolutions with batch norm and ReLU, the second with stride 2, then the mean over the image.

    Takes every size of image and crop, as a backbone has to.
    """

    class Config(Backbone.Config):
        width: int = Field(32, ge=1)
        """Channels of the first convolution; the second has twice as many, which are the features."""

    config: Config

    def __init__(self, config: Any, *, channels: int, image_size: int) -> None:
        super().__init__(config)
        self.features = 2 * config.width
        self.network = nn.Sequential(
            *_layer(channels, config.width, stride=1),
            *_layer(config.width, self.features, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Features (M, F)."""
        features_MF: Tensor = self.network(images_MCHW)
        return features_MF


def _layer(before: int, after: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
