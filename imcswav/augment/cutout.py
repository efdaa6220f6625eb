"""Cutout (DeVries and Taylor, 2017, arXiv 1708.04552): a square of each sample blotted out."""

from __future__ import annotations

import torch
from torch import Tensor

CUTOUT_DRAWS = 2


def cutout(x_vBCSS: Tensor, u_JBv: Tensor, share: float) -> Tensor:
    """Set a square of ``share`` of the side, in whole pixels, to 0: the mean, for ``x_vBCSS`` is normalised.

    Its centre is any pixel, with equal chances, so that parts may lie outside. ``u_JBv`` holds CUTOUT_DRAWS
    uniform numbers a sample. Writes into ``x_vBCSS`` and returns it.
    """
    size = x_vBCSS.shape[-1]
    length = round(share * size)
    pixel_S = torch.arange(size, device=x_vBCSS.device)
    start_JvB1 = ((u_JBv * size).long() - length // 2).mT[..., None]
    row_vBS, column_vBS = (pixel_S >= start_JvB1) & (pixel_S < start_JvB1 + length)
    hidden_vB1SS = (row_vBS[..., :, None] & column_vBS[..., None, :])[:, :, None]
    return x_vBCSS.mul_(~hidden_vB1SS)
