"""Strong views beside a weak one: crops under RandAugment and Cutout, for learning from one's own labels.

As FixMatch pairs them (Sohn et al., 2020, arXiv 2001.07685, section 2.3) and SCAN's self-labelling does (Van Gansbeke
et al., 2020, arXiv 2005.12320, section 2.3): what a network says of the weak view is the target for the strong ones.
Each view goes through, in this order: horizontal flip, resized crop; strong ones then RandAugment's operations,
normalisation, Cutout.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from imcswav.augment.crop import CROP_DRAWS, draw_boxes, resized_crop
from imcswav.augment.cutout import CUTOUT_DRAWS, cutout
from imcswav.augment.draws import uniform
from imcswav.augment.randaugment import OPERATION_DRAWS, rand_augment
from imcswav.distributed import rank, world_size
from imcswav.errors import Problem, RecipeError
from imcswav.plugins import hookimpl
from imcswav.views import CropGroup, Views
from imcswav.views._crops import Positive, Probability, Share, ascending, mild_views, normalised, statistics_problems

# Draws of a view, in order; those of the operations are a stream of their own, since a setting changes their number.
DRAWS = {"crop": CROP_DRAWS, "cutout": CUTOUT_DRAWS}


class Strong(Views, name="strong"):
    """A weak global view of each image, a crop, then strong ones: crops under random operations and Cutout.

    The operations are identity, rotation, shears and shifts along both axes, brightness, contrast, saturation,
    sharpness, autocontrast, solarisation, posterisation and equalisation. Grey images have no saturation to change.
    """

    class Config(Views.Config):
        size: int = Field(ge=1, le=1024)
        """Side of all views in pixels."""
        count: int = Field(1, ge=1, le=100)
        """Strong views of each image."""
        scale: tuple[Share, Share] = (0.6, 1.0)
        """Least and greatest share of the image's area in a crop, weak or strong."""
        ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
        """Least and greatest aspect ratio (width by height) of a crop before it is resized."""
        flip: Probability = 0.5
        """Probability of a horizontal flip."""
        operations: int = Field(4, ge=0, le=100)
        """Operations that a strong view goes through, one after another, each of the fourteen equally likely."""
        magnitude: tuple[Probability, Probability] = (0.0, 1.0)
        """Least and greatest strength of an operation, drawn anew for each; 1 is RandAugment's greatest."""
        cutout: Probability = 0.5
        """Side of the square that a strong view loses, as a share of the view's; 0 for none."""
        mean: list[float] | None = None
        """Mean of each channel in [0, 1] to subtract, the colour of all that is blotted out or comes into sight
        beyond the border; the data set's own if not given."""
        std: list[Positive] | None = None
        """Standard deviation of each channel to divide by; the data set's own if not given."""

        @model_validator(mode="after")
        def _check(self) -> Strong.Config:
            for name in ("scale", "ratio", "magnitude"):
                ascending(name, getattr(self, name))
            return self

        def groups(self) -> list[CropGroup]:
            """The weak view, then the strong ones."""
            return [CropGroup(1, self.size), CropGroup(self.count, self.size)]

        def check_channels(self, channels: int) -> list[Problem]:
            """Images are grey or RGB; ``mean`` and ``std``, where given, have a value a channel."""
            problems = statistics_problems(self.mean, self.std, channels)
            if channels not in (1, 3):
                remedy = "Take the views 'multicrop'."
                text = f"needs images of 1 or 3 channels, but these have {channels}."
                problems.append(Problem("name", text, remedy, value=self.owner.name))
            return problems

    config: Config

    def __init__(self, config: Any, *, channels: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__(config, channels=channels, mean=mean, std=std)
        self.mean, self.std = tuple(config.mean or mean), tuple(config.std or std)
        if problems := config.check_channels(channels):
            raise RecipeError("views", problems)

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, seed: int | Tensor) -> list[Tensor]:
        """The weak view (1, B, C, s, s), then the strong ones (count, B, C, s, s), float32, normalised.

        Draws are keyed by (seed, position in the global batch, view) and are the same on every device. Only which
        sample gets which operation also follows from the process's batch size: see ``augment/randaugment.py``.
        """
        config, batch = self.config, len(images_BCHW)
        position_B = torch.arange(batch, device=images_BCHW.device) * world_size() + rank()
        u_JBv = uniform(seed, 0, position_B, 1 + config.count, sum(DRAWS.values()))
        crop_JBv, cutout_JBv = u_JBv.split(list(DRAWS.values()))
        area = (images_BCHW.shape[-2], images_BCHW.shape[-1])
        # bf16 products would round a pixel of 255 to the nearest even one or two
        with torch.autocast(images_BCHW.device.type, enabled=False):
            boxes = draw_boxes(crop_JBv, area, config.scale, config.ratio, config.flip)
            x_CBvQ = resized_crop(images_BCHW, boxes, config.size).unflatten(1, (batch, -1))
            strong_CMQ = self._operate(x_CBvQ[:, :, 1:].flatten(1, 2), seed, position_B)
            weak_vBCSS, strong_vBCSS = self._normalise(x_CBvQ[:, :, 0], 1), self._normalise(strong_CMQ, config.count)
        return [weak_vBCSS, cutout(strong_vBCSS, cutout_JBv[..., 1:], config.cutout)]

    def _operate(self, x_CMQ: Tensor, seed: int | Tensor, position_B: Tensor) -> Tensor:
        config = self.config
        if config.operations == 0:
            return x_CMQ
        u_JBv = uniform(seed, 1, position_B, config.count, config.operations * OPERATION_DRAWS)
        u_KJM = u_JBv.flatten(1).unflatten(0, (-1, OPERATION_DRAWS))
        return rand_augment(x_CMQ, u_KJM, config.magnitude, tuple(255 * value for value in self.mean))

    def _normalise(self, x_CMQ: Tensor, views: int) -> Tensor:
        size = self.config.size
        return normalised(x_CMQ.unflatten(-1, (size, size)).unflatten(1, (-1, views)), self.mean, self.std)

    @torch.no_grad()
    def mild(self, images_NCHW: Tensor, count: int) -> list[Tensor]:
        """The whole images, then ``count`` − 1 crops of at least 60 % of the area at the images' own size.

        The same crops for every image and every call; every second one is mirrored if ``flip`` is not 0.
        """
        return mild_views(self.whole(images_NCHW), count, self.config.ratio, mirror=self.config.flip > 0)


@hookimpl
def imcswav_components() -> list[type]:
    """The classes this module offers."""
    return [Strong]
