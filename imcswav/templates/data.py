"""Coloured shapes, drawn from a seed."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from imcswav.data import Data, DataFacts, Split
from imcswav.plugins import hookimpl

CLASSES = ("square", "disc", "cross")


class Mine(Data, name="mine"):
    """Squares, discs and crosses of any colour, size and place on a dark ground; as many of each."""

    class Config(Data.Config):
        images: int = Field(900, ge=3)
        """Images of the training split, which is the only one."""
        size: int = Field(16, ge=8, le=256)
        """Side in pixels."""
        seed: int = Field(0, ge=0)
        """What is drawn follows from it."""

        def facts(self) -> DataFacts:
            """Known without drawing."""
            return DataFacts(self.images, channels=3, size=self.size)

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        labels_N = torch.arange(config.images) % len(CLASSES)
        images_NCHW = _draw(labels_N, config.size, torch.Generator().manual_seed(config.seed))
        names = [f"{CLASSES[label]} {index}" for index, label in enumerate(labels_N.tolist())]
        self.train = Split(images_NCHW, names, labels_N)  # labels score; they never train
        self.class_names = CLASSES
        self.measure()


def _draw(labels_N: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """uint8 images (N, 3, S, S)."""
    u_9N11 = torch.rand(9, len(labels_N), 1, 1, generator=generator)
    radius_N11 = size * (0.2 + 0.15 * u_9N11[0])
    row_N11, column_N11 = (radius_N11 + u * (size - 2 * radius_N11) for u in u_9N11[1:3])
    pixel_S = torch.arange(size) + 0.5
    y_NS1, x_N1S = (pixel_S[:, None] - row_N11).abs(), (pixel_S - column_N11).abs()
    inside_N3HW = torch.stack(
        [
            torch.maximum(y_NS1, x_N1S) < radius_N11,
            y_NS1.square() + x_N1S.square() < radius_N11.square(),
            (torch.minimum(y_NS1, x_N1S) < radius_N11 / 3) & (torch.maximum(y_NS1, x_N1S) < radius_N11),
        ],
        1,
    )
    inside_N1HW = inside_N3HW[torch.arange(len(labels_N)), labels_N].unsqueeze(1)
    colour_NC11, ground_NC11 = (0.5 + 0.5 * u_9N11[3:6]).transpose(0, 1), 0.3 * u_9N11[6:].transpose(0, 1)
    return (255 * torch.where(inside_N1HW, colour_NC11, ground_NC11)).byte()


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
