"""Random resized crop with a box per sample, by Pillow's antialiased bilinear filter."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

TRIES = 10  # as torchvision's RandomResizedCrop: then the largest central box of an allowed shape
CROP_DRAWS = 2 * TRIES + 3
OUTSIDE = 1e6  # a distance at which the triangle filter is zero whatever its width


@dataclass(frozen=True)
class Boxes:
    """Boxes in whole pixels, int64 (B, v) each; ``flip`` (bool) mirrors the image before it is cropped."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor

    def apart(self) -> Boxes:
        """The same boxes (B·v, 1), for crops that each have an image of their own."""
        return Boxes(*(getattr(self, field.name).reshape(-1, 1) for field in fields(self)))


def draw_boxes(
    u_JBv: Tensor,
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    flip: float,
) -> Boxes:
    """Boxes of an image of ``size`` (H, W), distributed as torchvision's RandomResizedCrop.

    ``u_JBv`` holds CROP_DRAWS uniform numbers a sample; ``scale`` bounds the share of the area, ``ratio``
    width by height. All candidates are made at once and the first that fits is taken.
    """
    height, width = size
    area_TBv = height * width * _between(u_JBv[:TRIES], *scale)
    ratio_TBv = _between(u_JBv[TRIES : 2 * TRIES], math.log(ratio[0]), math.log(ratio[1])).exp()
    w_TBv = (area_TBv * ratio_TBv).sqrt().round()
    h_TBv = (area_TBv / ratio_TBv).sqrt().round()
    fits_TBv = (w_TBv > 0) & (w_TBv <= width) & (h_TBv > 0) & (h_TBv <= height)
    rank_T11 = torch.arange(TRIES, 0, -1, device=u_JBv.device).view(-1, 1, 1)
    first_1Bv = (fits_TBv * rank_T11).argmax(0, keepdim=True)
    any_Bv = fits_TBv.any(0)
    h_fall, w_fall = _fallback(height, width, ratio)
    h_Bv = torch.where(any_Bv, h_TBv.gather(0, first_1Bv)[0], h_fall)
    w_Bv = torch.where(any_Bv, w_TBv.gather(0, first_1Bv)[0], w_fall)
    down_Bv, right_Bv, flip_Bv = u_JBv[2 * TRIES :]
    top_Bv = torch.where(any_Bv, (down_Bv * (height - h_Bv + 1)).floor(), (height - h_fall) // 2)
    left_Bv = torch.where(any_Bv, (right_Bv * (width - w_Bv + 1)).floor(), (width - w_fall) // 2)
    return Boxes(top_Bv.long(), left_Bv.long(), h_Bv.long(), w_Bv.long(), flip_Bv < flip)


def _fallback(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    if width / height < ratio[0]:
        return round(width / ratio[0]), width
    if width / height > ratio[1]:
        return height, round(height * ratio[1])
    return height, width


def _between(u: Tensor, low: float, high: float) -> Tensor:
    return u * (high - low) + low


def resize_weights(start: Tensor, length: Tensor, full: int, size: int, flip: Tensor | None = None) -> Tensor:
    """Weights (…, size, full) of ``full`` pixels in ``size`` output pixels, from the box at ``start`` (…).

    Pillow's bilinear: a triangle as wide as the reduction (never narrower than a pixel), cut off at the box
    and normalised. With ``flip`` the box is one of the mirrored axis.
    """
    # over int64 positions the arithmetic would promote to the default type, which may be float64
    index_S = torch.arange(size, device=start.device, dtype=torch.float32)
    pixel_L = torch.arange(full, device=start.device, dtype=torch.float32)
    start, length = start.float()[..., None], length.float()[..., None]
    if flip is not None:
        start = torch.where(flip[..., None], full - start - length, start)
        index_S = torch.where(flip[..., None], size - 1 - index_S, index_S)
    step = length / size
    sharpness = 1 / step.clamp_min(1)
    centre = (start + (index_S + 0.5) * step) * sharpness
    inside = (pixel_L >= start) & (pixel_L < start + length)
    place = torch.where(inside, (pixel_L + 0.5) * sharpness, OUTSIDE)
    weights = (centre[..., None] - place[..., None, :]).abs_().neg_().add_(1).clamp_min_(0)
    return weights.div_(weights.sum(-1, keepdim=True))


def resized_crop(images_BCHW: Tensor, boxes: Boxes, size: int) -> Tensor:
    """Crops of every image as planes (C, M, Q) of whole numbers in [0, 255].

    Within one 8-bit level of Pillow's ``crop`` and ``resize``: Pillow also rounds between the two passes.
    """
    batch, channels, height, width = images_BCHW.shape
    views = boxes.top.shape[1]
    rows_BvSH = resize_weights(boxes.top, boxes.height, height, size)
    cols_BvSW = resize_weights(boxes.left, boxes.width, width, size, boxes.flip)
    rows, cols = rows_BvSH.flatten(1, 2), cols_BvSW.flatten(0, 1).mT
    planes = torch.empty(channels, batch * views, size, size, dtype=torch.float32, device=images_BCHW.device)
    # channel by channel nothing needs to be transposed, and one product of rows serves all crops of an image
    for channel, image_BHW in enumerate(images_BCHW.float().unbind(1)):
        planes[channel] = torch.bmm(torch.bmm(rows, image_BHW).view(batch * views, size, width), cols)
    return planes.round_().flatten(2)
