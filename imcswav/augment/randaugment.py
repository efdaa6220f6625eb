"""RandAugment (Cubuk et al., 2019, arXiv 1909.13719): operations out of fourteen for each sample, with strengths.

The operations are those of torchvision's RandAugment, with its greatest strengths. Which sample goes through which
is a random permutation that is cut into shares of fixed size, in place of independent draws: every operation is then
computed for its own fourteenth of the samples and no other, in shapes that do not depend on the draws. A sample's
chances are the same, to the rounding of the shares to whole samples.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
from torch import Tensor

from imcswav.augment.colour import blend
from imcswav.augment.levels import LEVELS, equalize, levels
from imcswav.augment.sharpness import sharpen
from imcswav.augment.warp import WARPS, warp

BLENDS = 3  # brightness, contrast, saturation
SHARES = {"warp": WARPS, "blend": BLENDS, "levels": LEVELS, "sharpness": 1, "equalize": 1, "identity": 1}
COUNT = sum(SHARES.values())
OPERATION_DRAWS = 3
BLENDED = 0.9  # factors of brightness, contrast, saturation and sharpness are 1 ± this at full strength


def rand_augment(x_CMQ: Tensor, u_KJM: Tensor, magnitude: tuple[float, float], fill: tuple[float, ...]) -> Tensor:
    """K operations for each sample, one after another, of strengths within ``magnitude``, shares of the greatest.

    ``x_CMQ`` holds whole numbers in [0, 255] and so does the result; ``u_KJM`` has OPERATION_DRAWS uniform numbers
    for each operation and sample. What comes into sight beyond the border is ``fill``, a value a channel.
    """
    order_KM, place_KM, amount_KM = u_KJM[:, 0].argsort(stable=True), u_KJM[:, 1], amounts(u_KJM[:, 2], magnitude)
    sample_M = torch.arange(x_CMQ.shape[1], device=x_CMQ.device)
    for order_M, place_M, amount_M in zip(order_KM, place_KM, amount_KM, strict=True):
        # samples stay where the permutation puts them until the next one, so that each share is a slice
        sample_M = sample_M[order_M]
        x_CMQ = one_each(x_CMQ.index_select(1, order_M), place_M, amount_M, fill)
    return torch.empty_like(x_CMQ).index_copy_(1, sample_M, x_CMQ)


def amounts(u: Tensor, magnitude: tuple[float, float]) -> Tensor:
    """Strengths within ``magnitude``, with either sign."""
    low, high = magnitude
    either = 2 * u - 1
    return (either.abs() * (high - low) + low).copysign(either)


def share_sizes(samples: int) -> list[int]:
    """Samples of each of SHARES: the share of fourteen, rounded so that all of them sum to ``samples``."""
    bounds = [round(end * samples / COUNT) for end in accumulate(SHARES.values(), initial=0)]
    return [high - low for low, high in pairwise(bounds)]


def one_each(x_CMQ: Tensor, place_M: Tensor, amount_M: Tensor, fill: tuple[float, ...]) -> Tensor:
    """One operation for each sample, by its share of the batch; may write into ``x_CMQ``.

    ``place_M`` in [0, 1) chooses among a share's operations, ``amount_M`` is the strength in [−1, 1], its sign for
    those that go both ways.
    """
    sizes = share_sizes(x_CMQ.shape[1])
    parts = zip(
        SHARES, *(tensor.split(sizes, -1) for tensor in (place_M, amount_M)), x_CMQ.split(sizes, 1), strict=True
    )
    return torch.cat([apply(name, part, place, amount, fill) for name, place, amount, part in parts], 1)


def apply(name: str, x_CMQ: Tensor, place_M: Tensor, amount_M: Tensor, fill: tuple[float, ...]) -> Tensor:
    """The operations of one of SHARES, in whole numbers; may write into ``x_CMQ``.

    Within one 8-bit level of Pillow, two for the blends, whose grey references Pillow rounds. With one channel
    the saturation's blend changes nothing.
    """
    if not x_CMQ.shape[1] or name == "identity":
        return x_CMQ
    kind_M = (place_M * SHARES[name]).long()
    if name == "warp":
        return warp(x_CMQ, kind_M, amount_M, fill)
    if name == "blend":
        return blend(x_CMQ, kind_M, (1 + BLENDED * amount_M).expand(BLENDS, -1)).round_()
    if name == "levels":
        return levels(x_CMQ, kind_M, amount_M.abs())
    if name == "sharpness":
        return sharpen(x_CMQ, 1 + BLENDED * amount_M).round_()
    return equalize(x_CMQ)
