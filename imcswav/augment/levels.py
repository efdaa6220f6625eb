"""RandAugment's operations on single values: autocontrast, solarise, posterise; equalise by a table per channel."""

from __future__ import annotations

import torch
from torch import Tensor

AUTOCONTRAST, SOLARIZE, POSTERIZE = range(3)
LEVELS = 3
POSTERIZED_BITS = 4  # of the 8 these are lost at full strength


def levels(x_CMQ: Tensor, kind_M: Tensor, strength_M: Tensor) -> Tensor:
    """One of the three for each sample, ``kind_M`` being AUTOCONTRAST … POSTERIZE, of ``strength_M`` in [0, 1].

    Solarise inverts the values from 256·(1 − strength) up, posterise keeps the 8 − 4·strength highest bits;
    autocontrast, which has no strength, stretches each channel to 0 … 255. One expression serves all of them, with
    the parameters of the others at rest.
    """
    low_CM1, high_CM1 = x_CMQ.amin(-1, keepdim=True), x_CMQ.amax(-1, keepdim=True)
    stretched_CM1 = (kind_M == AUTOCONTRAST)[:, None] & (high_CM1 > low_CM1)
    factor_CM1 = torch.where(stretched_CM1, 255 / (high_CM1 - low_CM1), 1.0)
    x_CMQ = (x_CMQ - torch.where(stretched_CM1, low_CM1, 0.0)).mul_(factor_CM1).round_()
    threshold_M = torch.where(kind_M == SOLARIZE, 256 * (1 - strength_M), 256.0)
    x_CMQ = torch.where(x_CMQ >= threshold_M[:, None], 255 - x_CMQ, x_CMQ)
    bits_M = torch.where(kind_M == POSTERIZE, (strength_M * POSTERIZED_BITS).round(), 0.0)
    step_M1 = bits_M.exp2().round()[:, None]
    return x_CMQ.div_(step_M1).floor_().mul_(step_M1)


def equalize(x_CMQ: Tensor) -> Tensor:
    """Histograms made flat channel by channel, by Pillow's integer rule; ``x_CMQ`` holds whole numbers.

    With h the histogram and s = (pixels − h of the greatest value) // 255, a value i becomes
    (s // 2 + Σ_{j<i} h_j) // s; where s is 0, as in a channel of one value, nothing changes.
    """
    value_RQ = x_CMQ.flatten(0, 1).long()
    rows, pixels = value_RQ.shape
    # rows R are channels of samples, T = 256 values; one long table, as adding into
    # tables of rows has no deterministic form on every device
    bin_RQ = value_RQ + torch.arange(rows, device=value_RQ.device)[:, None] * 256
    empty = torch.zeros(rows * 256, dtype=torch.int64, device=value_RQ.device)
    count_RT = empty.scatter_add_(0, bin_RQ.flatten(), torch.ones_like(bin_RQ).flatten()).view(rows, 256)
    greatest_R1 = value_RQ.amax(-1, keepdim=True)
    step_R1 = (pixels - count_RT.gather(-1, greatest_R1)) // 255
    below_RT = count_RT.cumsum(-1) - count_RT
    table_RT = ((below_RT + step_R1 // 2) // step_R1.clamp_min(1)).clamp_(max=255)
    flat_RQ = torch.where(step_R1 > 0, table_RT.gather(-1, value_RQ), value_RQ)
    return flat_RQ.to(x_CMQ.dtype).view_as(x_CMQ)
