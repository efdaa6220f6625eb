"""Backbones: images → feature vectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from torch import Tensor, nn

from imcswav.component import Component
from imcswav.errors import Problem


class Backbone(Component, nn.Module, kind="backbone"):
    """A backbone maps normalised images (M, C, H, W) to features (M, F); ``features`` is F.

    It must take every crop size of the views as well as whole images. Build: ``config.build(channels=C,
    image_size=S)``.
    """

    class Config(Component.Config):
        def restored(self) -> Self:
            """The same settings for loading saved weights: without sources of starting weights."""
            return self

        def resolved(self) -> Self:
            """The same settings with absolute paths, so that a run's recipe works from every folder."""
            return self

        def normalization(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
            """Mean and std, a value a channel in [0, 1], of the images that the starting weights were trained on.

            None where there are none or that isn't known.
            """
            return None

        def check_sizes(self, sizes: Iterable[int], channels: int) -> list[Problem]:
            """Problems of square inputs of these sizes, and of starting weights; nothing is downloaded."""
            return []

    features: int

    def blocks(self) -> list[nn.Module]:
        """The parts of which activation checkpointing recomputes one at a time; none inside another."""
        return [self]

    def depths(self) -> dict[str, int]:
        """Depth of every parameter by name, 0 nearest to the images, for learning rates that fall from layer to layer.

        Empty where that isn't known.
        """
        return {}

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Features (M, F)."""
        raise NotImplementedError
