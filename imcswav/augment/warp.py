"""RandAugment's geometric operations with one affine map per sample, all five in a single sampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from imcswav.constants import constant

ROTATE, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y = range(5)
WARPS = 5
# at full strength; shares are of the side (torchvision's 150 of ImageNet's 331 pixels)
ROTATION, SHEAR, TRANSLATION = math.radians(30), 0.3, 150 / 331


def affine_maps(kind_M: Tensor, amount_M: Tensor, size: int) -> Tensor:
    """Maps (M, 2, 3) from an output place to the input's, on axes that run from −1 to 1 across ``size`` pixels.

    ``kind_M`` is ROTATE … TRANSLATE_Y, ``amount_M`` in [−1, 1] of the full strength: counter-clockwise turns about
    the centre, shears about the corner at the top left, as Pillow's ``transform`` does them, and shifts to the
    right or down by whole pixels.
    """
    turn_M = torch.where(kind_M == ROTATE, amount_M * ROTATION, 0.0)
    cos_M, sin_M = turn_M.cos(), turn_M.sin()
    across_M, down_M = (torch.where(kind_M == kind, amount_M * SHEAR, 0.0) for kind in (SHEAR_X, SHEAR_Y))
    pixels_M = (amount_M * (TRANSLATION * size)).round()
    right_M, below_M = (torch.where(kind_M == kind, pixels_M * (-2 / size), 0.0) for kind in (TRANSLATE_X, TRANSLATE_Y))
    to_x = torch.stack([cos_M, across_M - sin_M, across_M + right_M], -1)
    to_y = torch.stack([sin_M + down_M, cos_M, down_M + below_M], -1)
    return torch.stack([to_x, to_y], 1)


def warp(x_CMQ: Tensor, kind_M: Tensor, amount_M: Tensor, fill: tuple[float, ...]) -> Tensor:
    """Each sample under its own operation, bilinear, in whole numbers: within one 8-bit level of Pillow's.

    Where the output's pixel comes from beyond the border it is ``fill``, a value a channel in [0, 255].
    """
    size = math.isqrt(x_CMQ.shape[-1])
    a_x, b_x, c_x, a_y, b_y, c_y = affine_maps(kind_M, amount_M, size).flatten(1).T[..., None, None]
    place_S = (torch.arange(size, device=x_CMQ.device, dtype=torch.float32) * 2 + (1 - size)) / size
    x_MSS = a_x * place_S + b_x * place_S[:, None] + c_x
    y_MSS = a_y * place_S + b_y * place_S[:, None] + c_y
    # beyond the outermost centres Pillow repeats the border's pixels up to its edge, then fills: no blend with the fill
    inside_MSS = (x_MSS >= -1) & (x_MSS < 1) & (y_MSS >= -1) & (y_MSS < 1)
    images_MCSS = x_CMQ.unflatten(-1, (size, size)).transpose(0, 1)
    grid_MSS2 = torch.stack([x_MSS, y_MSS], -1)
    found_MCSS = functional.grid_sample(
        images_MCSS, grid_MSS2, mode="bilinear", padding_mode="border", align_corners=False
    )
    fill_C11 = constant(fill, x_CMQ.device).view(-1, 1, 1)
    found_MCSS = torch.where(inside_MSS[:, None], found_MCSS.round_(), fill_C11.round())
    return found_MCSS.flatten(2).transpose(0, 1)
