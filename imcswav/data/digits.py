"""Handwritten digits: scikit-learn's 1,797 images of 8 × 8 pixels, which come with it.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part).
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch.nn import functional

from imcswav.data import Data, DataFacts, Split
from imcswav.plugins import hookimpl

COUNT = 1797
CLASSES = tuple(str(digit) for digit in range(10))


class Digits(Data, name="digits"):
    """One split of grey images with the classes "0" … "9"; needs no files and no network."""

    class Config(Data.Config):
        size: int = Field(16, ge=8, le=256)
        """Side in pixels; the 8 × 8 originals are scaled up bilinearly."""

        def facts(self) -> DataFacts:
            """1,797 grey images."""
            return DataFacts(COUNT, channels=1, size=self.size, test_images=0)

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        levels_NCHW = torch.from_numpy(pixels).view(-1, 1, 8, 8) * (255 / 16)  # stored as 0 … 16
        images_NCHW = functional.interpolate(levels_NCHW, (self.config.size, self.config.size), mode="bilinear")
        names = [str(index) for index in range(len(pixels))]
        self.train = Split(images_NCHW.round().byte(), names, torch.from_numpy(labels).long())
        self.class_names = CLASSES
        self.measure()


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [Digits]
