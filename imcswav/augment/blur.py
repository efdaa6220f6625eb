"""Gaussian blur with a width per sample, as two batched matrix products."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def blur_weights(sigma_M: Tensor, on_M: Tensor, size: int, longest: float) -> Tensor:
    """Weights (M, S, S) of a Gaussian of ``sigma_M`` pixels, borders mirrored; identity where not ``on_M``.

    Cut off at three times ``longest``, the widest sigma possible, and at the crop's side: torchvision's
    GaussianBlur with that kernel size.
    """
    radius = min(math.ceil(3 * longest), size - 1)
    index_S = torch.arange(size, device=sigma_M.device)
    to, source = index_S[:, None], index_S[None, :]
    # a pixel is met as itself and as its images about the first and the last pixel, which are not repeated
    mirrors = ((to + source, source > 0), (2 * (size - 1) - source - to, source < size - 1))
    distances = ((to - source, source >= 0), *mirrors)
    weights_MSS = sigma_M.new_zeros(len(sigma_M), size, size)
    for distance_SS, exists in distances:
        bell = torch.exp(-0.5 * (distance_SS / sigma_M[:, None, None]).square())
        weights_MSS += bell * ((distance_SS.abs() <= radius) & exists)
    weights_MSS /= weights_MSS.sum(-1, keepdim=True)
    return torch.where(on_M[:, None, None], weights_MSS, torch.eye(size, dtype=sigma_M.dtype, device=sigma_M.device))


def blur(x_CMQ: Tensor, weights_MSS: Tensor) -> Tensor:
    """Blur rows and columns of the samples."""
    size = weights_MSS.shape[-1]
    images = x_CMQ.view(*x_CMQ.shape[:2], size, size)
    return torch.matmul(weights_MSS @ images, weights_MSS.mT).flatten(2)
