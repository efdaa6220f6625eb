"""Rotation by an angle per sample."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def rotate(images_MCHW: Tensor, degrees_M: Tensor) -> Tensor:
    """Float images turned counter-clockwise about their centre, bilinear.

    What comes into sight beyond the border is the mirrored image: black corners would give the angle away.
    """
    height, width = images_MCHW.shape[-2:]
    radians_M = degrees_M.deg2rad()
    cos, sin, zero = radians_M.cos(), radians_M.sin(), torch.zeros_like(radians_M)
    # coordinates run from −1 to 1 on both axes, so a turn needs the sides' ratio where they differ
    to_x = torch.stack([cos, -sin * (height / width), zero], -1)
    to_y = torch.stack([sin * (width / height), cos, zero], -1)
    grid = functional.affine_grid(torch.stack([to_x, to_y], 1), list(images_MCHW.shape), align_corners=False)
    return functional.grid_sample(
        images_MCHW.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
