"""Views: uint8 images on the device → the crops a learner compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from imcswav.component import Component
from imcswav.constants import constant
from imcswav.errors import Problem


@dataclass(frozen=True)
class CropGroup:
    """``count`` crops of ``size`` × ``size`` pixels."""

    count: int
    size: int


class Views(Component, kind="views"):
    """Batched augmentation with parameters per sample.

    Build: ``config.build(channels=C, mean=(…), std=(…))``; mean and std (one value a channel, in [0, 1])
    are the data set's and may be overridden by the Config. No state: draws depend only on ``seed``.
    """

    class Config(Component.Config):
        def groups(self) -> list[CropGroup]:
            """The crops in order; views of the first group are the global ones (G = its count)."""
            raise NotImplementedError

        def check_channels(self, channels: int) -> list[Problem]:
            """Problems with images of so many channels."""
            return []

    config: Config

    def __init__(self, config: Any, *, channels: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__(config)
        self.channels, self.mean, self.std = channels, mean, std

    def __call__(self, images_BCHW: Tensor, seed: int) -> list[Tensor]:
        """One tensor (v, B, C, s, s) a group, float32, normalised.

        ``seed`` is unique for the training step; draws are keyed by (seed, position in the batch), on CPU and
        CUDA alike independent of the process's own generators.
        """
        raise NotImplementedError

    def whole(self, images_NCHW: Tensor) -> Tensor:
        """Un-augmented images, float32 and normalised, for evaluation (N, C, H, W)."""
        floats = images_NCHW.float().div_(255)
        mean, std = (constant(v, floats.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return floats.sub_(mean).div_(std)

    def mild(self, images_NCHW: Tensor, count: int) -> list[Tensor]:
        """``count`` mild views of whole images for averaged prediction, the same crops for every image."""
        raise NotImplementedError
