"""A residual network small enough to train on a CPU."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from torch import Tensor, nn

from imcswav.backbones import Backbone
from imcswav.plugins import hookimpl


class SmallResNet(Backbone, name="small_resnet"):
    """Few-channel residual network with basic blocks (He et al., 2016, arXiv 1512.03385), for small images."""

    class Config(Backbone.Config):
        stem: int = Field(16, ge=1)
        """Channels after the first 3×3 convolution, which has stride 1."""
        widths: list[int] = Field([16, 32, 64], min_length=1)
        """Channels of each stage; the last is the feature width."""
        strides: list[int] = Field([1, 2, 2], min_length=1)
        """Stride of each stage's first block; leave the leading 1 out to drop the full-resolution stage."""
        blocks: int = Field(1, ge=1, le=100)
        """Basic blocks a stage."""

        @model_validator(mode="after")
        def _stages(self) -> SmallResNet.Config:
            if len(self.widths) != len(self.strides):
                raise ValueError(f"widths has {len(self.widths)} stages, strides {len(self.strides)}")
            if min(self.widths) < 1 or min(self.strides) < 1:
                raise ValueError("widths and strides must be 1 or more")
            return self

    config: Config

    def __init__(self, config: Config, *, channels: int, image_size: int) -> None:
        super().__init__(config)
        layers: list[nn.Module] = [conv3x3(channels, config.stem), nn.BatchNorm2d(config.stem), nn.ReLU(inplace=True)]
        width = config.stem
        for out, stride in zip(config.widths, config.strides, strict=True):
            for block in range(config.blocks):
                layers.append(BasicBlock(width, out, stride if block == 0 else 1))
                width = out
        self.layers = nn.Sequential(*layers)
        self.features = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def blocks(self) -> list[nn.Module]:
        """The basic blocks."""
        return [layer for layer in self.layers if isinstance(layer, BasicBlock)]

    def depths(self) -> dict[str, int]:
        """The first convolution is layer 0, each block one more."""
        last = len(self.layers) - len(self.blocks()) - 1
        numbers = {name: int(name.split(".")[1]) for name, _ in self.named_parameters()}
        return {name: max(number - last, 0) for name, number in numbers.items()}

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Globally averaged features (M, F)."""
        pooled: Tensor = self.layers(images_MCHW).mean(dim=(2, 3))
        return pooled


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv3x3(width, out, stride),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
            conv3x3(out, out),
            nn.BatchNorm2d(out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width != out:
            self.shortcut = nn.Sequential(conv1x1(width, out, stride), nn.BatchNorm2d(out))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(M, width, H, W) → (M, out, H/stride, W/stride)."""
        y: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return y


def conv3x3(width: int, out: int, stride: int = 1) -> nn.Conv2d:
    """A padded 3×3 convolution without bias."""
    return nn.Conv2d(width, out, 3, stride, padding=1, bias=False)


class Subsampled1x1(nn.Conv2d):
    """A 1×1 convolution without bias of every ``step``-th pixel: what one with that stride gives."""

    def __init__(self, width: int, out: int, step: int) -> None:
        super().__init__(width, out, 1, bias=False)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        """(M, width, H, W) → (M, out, H/step, W/step), rounded up."""
        return super().forward(x[..., :: self.step, :: self.step])


def conv1x1(width: int, out: int, stride: int) -> nn.Conv2d:
    """A 1×1 convolution without bias.

    With a stride and fewer than 8 channels, channels last, the gradient of torch's own writes beyond its memory on CPUs
    with AVX2 and without AVX-512 (seen with torch 2.14.1), and the process dies.
    """
    if stride > 1 and width < 8:
        return Subsampled1x1(width, out, stride)
    return nn.Conv2d(width, out, 1, stride, bias=False)


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [SmallResNet]
