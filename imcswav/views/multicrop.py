"""Multi-crop: groups of random resized crops of each image, with colour jitter.

Caron et al., 2020, arXiv 2006.09882, section 3.3; with the defaults the views of IMC-SwAV (Ntelemis et al.,
2021, arXiv 2103.07368). Each crop goes through, in this order: rotation, horizontal flip, resized crop, colour
jitter, greyscale, blur, solarisation, normalisation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from imcswav.augment.blur import blur, blur_weights
from imcswav.augment.colour import JITTER_DRAWS, draw_jitter, jitter, solarize, to_grey
from imcswav.augment.crop import CROP_DRAWS, draw_boxes, resized_crop
from imcswav.augment.draws import uniform
from imcswav.augment.rotate import rotate
from imcswav.component import Settings
from imcswav.distributed import rank, world_size
from imcswav.errors import Problem, RecipeError
from imcswav.plugins import hookimpl
from imcswav.views import CropGroup, Views
from imcswav.views._crops import Positive, Probability, Share, ascending, mild_views, normalised, statistics_problems

# Draws of a sample, in order. Settings never change their number: switching a step on leaves the others' draws.
DRAWS = {"crop": CROP_DRAWS, "jitter": JITTER_DRAWS, "grey": 1, "blur": 2, "solarize": 1, "rotate": 1}


class Crop(Settings):
    """A group of crops."""

    count: int = Field(ge=1, le=100)
    """Crops of each image."""
    size: int = Field(ge=1, le=1024)
    """Side in pixels."""
    scale: tuple[Share, Share]
    """Least and greatest share of the image's area."""

    @model_validator(mode="after")
    def _check(self) -> Crop:
        ascending("scale", self.scale)
        return self


class MultiCrop(Views, name="multicrop"):
    """Random resized crops in groups of equal size; see the module's text for the order of steps.

    With other than three channels there are no colours: saturation, hue and greyscale are left out.
    """

    class Config(Views.Config):
        crops: list[Crop] = Field(min_length=1)
        """Groups of crops; the first group's are the global ones."""
        ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
        """Least and greatest aspect ratio (width by height) of a crop before it is resized."""
        flip: Probability = 0.5
        """Probability of a horizontal flip."""
        jitter: Probability = 0.8
        """Probability of colour jitter."""
        brightness: float = Field(0.4, ge=0)
        """Brightness factor is 1 ± this."""
        contrast: float = Field(0.4, ge=0)
        """Contrast factor is 1 ± this."""
        saturation: float = Field(0.4, ge=0)
        """Saturation factor is 1 ± this."""
        hue: float = Field(0.1, ge=0, le=0.5)
        """Hue shifts by up to this many turns of the colour circle either way."""
        grey: Probability = 0.25
        """Probability of greyscale."""
        blur: Probability = 0.0
        """Probability of Gaussian blur."""
        blur_sigma: tuple[Positive, Positive] = (0.1, 2.0)
        """Least and greatest standard deviation of the blur in pixels of the crop."""
        solarize: Probability = 0.0
        """Probability of inverting all values of 128 (of 255) and above."""
        rotation: float = Field(0.0, ge=0, le=180)
        """Rotation by up to this many degrees either way; beyond the border the image is mirrored."""
        mean: list[float] | None = None
        """Mean of each channel in [0, 1] to subtract; the data set's own if not given."""
        std: list[Positive] | None = None
        """Standard deviation of each channel to divide by; the data set's own if not given."""

        @model_validator(mode="after")
        def _check(self) -> MultiCrop.Config:
            ascending("ratio", self.ratio)
            ascending("blur_sigma", self.blur_sigma)
            return self

        def groups(self) -> list[CropGroup]:
            """One group for each entry of ``crops``."""
            return [CropGroup(crop.count, crop.size) for crop in self.crops]

        def check_channels(self, channels: int) -> list[Problem]:
            """``mean`` and ``std``, where given, have a value a channel."""
            return statistics_problems(self.mean, self.std, channels)

    config: Config

    def __init__(self, config: Any, *, channels: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__(config, channels=channels, mean=mean, std=std)
        self.mean, self.std = tuple(config.mean or mean), tuple(config.std or std)
        if problems := config.check_channels(channels):
            raise RecipeError("views", problems)

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, seed: int | Tensor) -> list[Tensor]:
        """One tensor (v, B, C, s, s) for each entry of ``crops``, float32, normalised.

        Draws are keyed by (seed, entry, position in the global batch, view) and are the same on every device.
        Only the hue's place in the order of the jitter also follows from the batch size. Compiled, a seed given
        as a tensor spares a compilation.
        """
        # bf16 products would round a pixel of 255 to the nearest even one or two
        with torch.autocast(images_BCHW.device.type, enabled=False):
            return [self._group(images_BCHW, seed, index) for index in range(len(self.config.crops))]

    def _group(self, images_BCHW: Tensor, seed: int | Tensor, index: int) -> Tensor:
        config, crop = self.config, self.config.crops[index]
        batch, channels, height, width = images_BCHW.shape
        position_B = torch.arange(batch, device=images_BCHW.device) * world_size() + rank()
        u_JBv = uniform(seed, 2 * index, position_B, crop.count, sum(DRAWS.values()))
        u = dict(zip(DRAWS, torch.split(u_JBv, list(DRAWS.values())), strict=True))
        boxes = draw_boxes(u["crop"], (height, width), crop.scale, config.ratio, config.flip)
        if config.rotation > 0:
            degrees_M = (2 * u["rotate"].flatten() - 1) * config.rotation
            images_BCHW = rotate(images_BCHW.repeat_interleave(crop.count, 0), degrees_M)
            boxes = boxes.apart()
        x_CMQ = resized_crop(images_BCHW, boxes, crop.size)
        x_CMQ = self._colour(x_CMQ, u, lambda: uniform(seed, 2 * index + 1, position_B.new_zeros(1), 1, 1)[0, 0, 0])
        x_CMQ = self._filter(x_CMQ, u, crop.size)
        return normalised(x_CMQ.view(channels, batch, crop.count, crop.size, crop.size), self.mean, self.std)

    def _colour(self, x_CMQ: Tensor, u: dict[str, Tensor], draw_turn: Callable[[], Tensor]) -> Tensor:
        config, colours = self.config, len(x_CMQ) == 3
        strengths = (config.brightness, config.contrast, config.saturation if colours else 0.0)
        hue = config.hue if colours else 0.0
        if config.jitter > 0 and (any(strengths) or hue):
            turn = draw_turn() if hue > 0 else None
            x_CMQ = jitter(x_CMQ, draw_jitter(u["jitter"], turn, strengths, hue, config.jitter))
        if config.grey > 0 and colours:
            x_CMQ = to_grey(x_CMQ, u["grey"].flatten() < config.grey)
        return x_CMQ

    def _filter(self, x_CMQ: Tensor, u: dict[str, Tensor], size: int) -> Tensor:
        config = self.config
        if config.blur > 0:
            on_M, place_M = u["blur"].flatten(1)
            low, high = config.blur_sigma
            weights_MSS = blur_weights(place_M * (high - low) + low, on_M < config.blur, size, high)
            x_CMQ = blur(x_CMQ, weights_MSS)
        if config.solarize > 0:
            x_CMQ = solarize(x_CMQ, u["solarize"].flatten() < config.solarize)
        return x_CMQ

    @torch.no_grad()
    def mild(self, images_NCHW: Tensor, count: int) -> list[Tensor]:
        """The whole images, then ``count`` − 1 crops of at least 60 % of the area at the images' own size.

        The same crops for every image and every call; every second one is mirrored if ``flip`` is not 0.
        """
        return mild_views(self.whole(images_NCHW), count, self.config.ratio, mirror=self.config.flip > 0)


@hookimpl
def imcswav_components() -> list[type]:
    """The classes this module offers."""
    return [MultiCrop]
