"""The same draws through Pillow and torchvision: what a crop should have become."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from imcswav.augment.colour import draw_jitter
from imcswav.augment.crop import draw_boxes
from imcswav.augment.draws import uniform
from imcswav.views.multicrop import DRAWS, MultiCrop

ADJUST = (reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation)
PLAIN = {"jitter": 0.0, "grey": 0.0}


def crop_difference(views: MultiCrop, images_BCHW: Tensor, seed: int) -> float:
    """Largest difference from Pillow's flip, crop and resize, in 8-bit levels, colours left alone."""
    plain = _without_colour(views)
    differences = [0.0]
    for index, crops_vBCSS in enumerate(plain(images_BCHW, seed)):
        crop, config = plain.config.crops[index], plain.config
        u, _ = _draws(images_BCHW, seed, index, crop.count)
        size = (images_BCHW.shape[-2], images_BCHW.shape[-1])
        boxes = draw_boxes(u["crop"], size, crop.scale, config.ratio, config.flip)
        found = _levels(plain, crops_vBCSS).round().cpu()
        for image, view in np.ndindex(len(images_BCHW), crop.count):
            box = [int(getattr(boxes, side)[image, view]) for side in ("top", "left", "height", "width", "flip")]
            expected = _pillow(images_BCHW[image].cpu(), box, crop.size)
            differences.append(float((found[view, image] - expected).abs().max()))
    return largest(differences)


def colour_difference(views: MultiCrop, images_BCHW: Tensor, seed: int) -> float:
    """Largest difference from torchvision's jitter and greyscale in float, in 8-bit levels, on the same crops."""
    plain, config = _without_colour(views), views.config
    differences = [0.0]
    pairs = zip(plain(images_BCHW, seed), views(images_BCHW, seed), strict=True)
    for index, (before_vBCSS, after_vBCSS) in enumerate(pairs):
        count = config.crops[index].count
        u, turn = _draws(images_BCHW, seed, index, count)
        strengths = (config.brightness, config.contrast, config.saturation)
        drawn = draw_jitter(u["jitter"], turn, strengths, config.hue, config.jitter)
        place_of_hue = {int(sample): place for place, slot in enumerate(drawn.hue_slots) for sample in slot}
        grey_M = u["grey"].flatten() < config.grey
        start, found = _levels(plain, before_vBCSS).round() / 255, _levels(views, after_vBCSS)
        for image, view in np.ndindex(len(images_BCHW), count):
            sample = image * count + view
            x = _jittered(start[view, image], drawn, sample, place_of_hue.get(sample))
            expected = reference.rgb_to_grayscale(x, 3) if bool(grey_M[sample]) else x
            differences.append(float((found[view, image] - expected * 255).abs().max()))
    return largest(differences)


def largest(values: Iterable[float]) -> float:
    """The largest of some values in [0, ∞), NaN where one is: Python's own maximum passes those over."""
    found = list(values)
    return math.nan if any(map(math.isnan, found)) else max(found, default=0.0)


def _without_colour(views: MultiCrop) -> MultiCrop:
    """The same draws without colour: switching a step off leaves the others'."""
    config = views.config.model_copy(update=PLAIN)
    return MultiCrop(config, channels=views.channels, mean=tuple(views.mean), std=tuple(views.std))


def _draws(images_BCHW: Tensor, seed: int, index: int, count: int) -> tuple[dict[str, Tensor], Tensor]:
    positions_B = torch.arange(len(images_BCHW), device=images_BCHW.device)
    u_JBv = uniform(seed, 2 * index, positions_B, count, sum(DRAWS.values()))
    turn = uniform(seed, 2 * index + 1, positions_B.new_zeros(1), 1, 1)[0, 0, 0]
    return dict(zip(DRAWS, torch.split(u_JBv, list(DRAWS.values())), strict=True)), turn


def _levels(views: MultiCrop, crops_vBCSS: Tensor) -> Tensor:
    """Normalised crops as values in [0, 255]."""
    mean, std = (torch.tensor(v, device=crops_vBCSS.device).view(-1, 1, 1) for v in (views.mean, views.std))
    return (crops_vBCSS * std + mean) * 255


def _pillow(image_CHW: Tensor, box: list[int], size: int) -> Tensor:
    top, left, height, width, flip = box
    picture = Image.fromarray(image_CHW.permute(1, 2, 0).contiguous().numpy())
    if flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = picture.crop((left, top, left + width, top + height))
    resized = picture.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).float()


def _jittered(x_CSS: Tensor, drawn: Any, sample: int, place_of_hue: int | None) -> Tensor:
    for place in range(len(drawn.order) + 1):
        if place == place_of_hue:
            x_CSS = reference.adjust_hue(x_CSS, float(drawn.shift[sample]))
        if place < len(drawn.order):
            kind = int(drawn.order[place, sample])
            x_CSS = ADJUST[kind](x_CSS, float(drawn.factors[kind, sample]))
    return x_CSS
