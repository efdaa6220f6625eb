"""Sharpness with a factor per sample."""

from __future__ import annotations

import math

from torch import Tensor


def sharpen(x_CMQ: Tensor, factor_M: Tensor) -> Tensor:
    """Blend of the samples with their smooth versions, 1 leaving them as they are: Pillow's ``Sharpness``.

    Smooth is the mean of 3 × 3 pixels with the centre counted five times; the outermost pixels stay. Writes into
    its input and returns it; values are clamped to [0, 255], not rounded.
    """
    size = math.isqrt(x_CMQ.shape[-1])
    x_CMSS = x_CMQ.view(*x_CMQ.shape[:2], size, size)
    rows = x_CMSS[..., :-2, :] + x_CMSS[..., 1:-1, :] + x_CMSS[..., 2:, :]
    sum_CMSS = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = x_CMSS[..., 1:-1, 1:-1]
    rest_M11 = ((1 - factor_M) / 13)[:, None, None]
    # with smooth = (sum + 4·inner) / 13 the blend is (factor + 4·rest)·inner + rest·sum
    inner.mul_(factor_M[:, None, None] + 4 * rest_M11).addcmul_(sum_CMSS, rest_M11).clamp_(0, 255)
    return x_CMQ
