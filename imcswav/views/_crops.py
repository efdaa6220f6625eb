"""What views that are made of random crops have in common: types of settings, normalisation, mild views."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from imcswav.augment.crop import CROP_DRAWS, draw_boxes, resize_weights
from imcswav.augment.draws import uniform
from imcswav.constants import constant
from imcswav.errors import Problem

# Averaging pays when views differ, but the object must stay in sight: with 60 % of the area it nearly always does.
MILD_SCALE = (0.6, 1.0)
ONE_EACH = "Give one value a channel, or leave it out for the data set's own."

Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


def ascending(name: str, pair: tuple[float, float]) -> None:
    """Raise ValueError unless the pair is [low, high]."""
    if pair[0] > pair[1]:
        raise ValueError(f"{name} must be [low, high] with low <= high, but is [{pair[0]}, {pair[1]}]")


def statistics_problems(mean: list[float] | None, std: list[float] | None, channels: int) -> list[Problem]:
    """A problem for each of ``mean`` and ``std`` that is given without a value a channel."""
    return [
        Problem(setting, f"has {len(values)} values, but the images have {channels} channels.", ONE_EACH)
        for setting, values in (("mean", mean), ("std", std))
        if values is not None and len(values) != channels
    ]


def normalised(x_CBvSS: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(v, B, C, S, S) of (x / 255 − mean) / std, in one pass; image-major in memory, as encoders want them."""
    device = x_CBvSS.device
    offsets = tuple(-one_mean / one_std for one_mean, one_std in zip(mean, std, strict=True))
    bias = constant(offsets, device).view(-1, 1, 1)
    factor = constant(tuple(1 / (255 * one_std) for one_std in std), device).view(-1, 1, 1)
    x_BvCSS = x_CBvSS.permute(1, 2, 0, 3, 4)
    out = torch.empty(x_BvCSS.shape, dtype=torch.float32, device=device)
    return torch.mul(x_BvCSS, factor, out=out).add_(bias).transpose(0, 1)


def mild_views(whole_NCHW: Tensor, count: int, ratio: tuple[float, float], mirror: bool) -> list[Tensor]:
    """The whole images, then ``count`` − 1 crops of at least 60 % of the area at the images' own size.

    The same crops for every image and every call; with ``mirror`` every second one is mirrored.
    """
    size = (whole_NCHW.shape[-2], whole_NCHW.shape[-1])
    numbers = torch.arange(count - 1, device=whole_NCHW.device)
    boxes = draw_boxes(uniform(0, 0, numbers, 1, CROP_DRAWS), size, MILD_SCALE, ratio, 0.0)
    flip = numbers % 2 == 0 if mirror else None
    rows = resize_weights(boxes.top[:, 0], boxes.height[:, 0], size[0], size[0])
    cols = resize_weights(boxes.left[:, 0], boxes.width[:, 0], size[1], size[1], flip)
    return [whole_NCHW, *(row @ whole_NCHW @ col.mT for row, col in zip(rows, cols, strict=True))]
