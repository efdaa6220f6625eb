"""Colour jitter, greyscale and solarisation on planes (C, M, Q), with factors and order per sample.

Brightness, contrast and saturation are blends of a sample with a reference: black, the mean of its grey
values, its grey values. So at each place in the order one expression serves all samples, whichever of the
three is due. Hue is dear and no blend: a sample's place for it follows from its position in the (shuffled)
batch, so that hue is computed once for each, in slices of fixed size.

All functions but ``shift_hue`` and ``solarize`` write into their input and return it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from imcswav.constants import constant

GREY = (0.299, 0.587, 0.114)  # ITU-R 601-2, Pillow's
JITTER_DRAWS = 6
BRIGHTNESS, CONTRAST, SATURATION = range(3)


@dataclass(frozen=True)
class Jitter:
    """What to do to each sample.

    ``factors`` (3, M) of brightness, contrast and saturation; ``order`` (K, M) the blends in the order they are
    due; ``shift`` (M,) of the hue in turns; ``hue_slots`` an index of samples for each place that hue can have:
    before the first blend, …, after the last. Without hue there are none.
    """

    factors: Tensor
    order: Tensor
    shift: Tensor
    hue_slots: tuple[Tensor, ...]


def draw_jitter(
    u_JBv: Tensor, turn: Tensor | None, strengths: tuple[float, float, float], hue: float, p: float
) -> Jitter:
    """Jitter with probability ``p``: factors in 1 ± strength, hue in ± ``hue`` turns.

    Each order is equally likely. ``u_JBv`` holds JITTER_DRAWS uniform numbers a sample, ``turn`` is one number for
    the whole batch; without it the hue rests.
    """
    batch, views = u_JBv.shape[1:]
    u_JM = u_JBv.flatten(1)
    on_M = u_JM[0] < p
    factors_3M = torch.stack([_around_one(u_M, s) for u_M, s in zip(u_JM[1:4], strengths, strict=True)])
    shift_M = torch.where(on_M, (2 * u_JM[4] - 1) * hue, 0.0)
    blends = [kind for kind, strength in enumerate(strengths) if strength > 0]
    orders_OK = constant(tuple(permutations(blends)), u_JM.device).long()
    order_KM = orders_OK[(u_JM[5] * len(orders_OK)).long()].T
    slots = hue_slots(batch, views, len(blends) + 1, turn) if turn is not None and hue > 0 else ()
    return Jitter(torch.where(on_M, factors_3M, 1.0), order_KM, shift_M, slots)


def _around_one(u: Tensor, strength: float) -> Tensor:
    low = max(0.0, 1 - strength)
    return u * (1 + strength - low) + low


def hue_slots(batch: int, views: int, count: int, turn: Tensor) -> tuple[Tensor, ...]:
    """Split B·v samples into ``count`` index tensors by place in the batch, turned by ``turn`` in [0, 1).

    The views of an image come into different slots. A block of the batch, not every fourth image, makes a slot,
    so that ranks that each hold every R-th image of it split theirs alike.
    """
    view_v = torch.arange(views, device=turn.device)
    offset_v = ((view_v + (turn * count).long()) % count) * batch // count
    slots = []
    for slot in range(count):
        low, high = slot * batch // count, (slot + 1) * batch // count
        image_bv = (torch.arange(low, high, device=turn.device)[:, None] + offset_v) % batch
        slots.append((image_bv * views + view_v).flatten())
    return tuple(slots)


def jitter(x_CMQ: Tensor, params: Jitter) -> Tensor:
    """Apply the jitter."""
    for place in range(len(params.order) + 1):
        if params.hue_slots:
            index = params.hue_slots[place]
            x_CMQ.index_copy_(1, index, shift_hue(x_CMQ.index_select(1, index), params.shift[index]))
        if place < len(params.order):
            x_CMQ = blend(x_CMQ, params.order[place], params.factors)
    return x_CMQ


def blend(x_CMQ: Tensor, kind_M: Tensor, factors_3M: Tensor) -> Tensor:
    """One of the three blends for each sample: factor·x + (1 − factor)·reference, clamped to [0, 255]."""
    factor_M = factors_3M.gather(0, kind_M[None])[0]
    rest_M = 1 - factor_M
    grey_MQ = grey(x_CMQ)
    mean_M = grey_MQ.mean(-1) * torch.where(kind_M == CONTRAST, rest_M, 0.0)
    share_M = torch.where(kind_M == SATURATION, rest_M, 0.0)
    reference_MQ = grey_MQ.mul_(share_M[:, None]).add_(mean_M[:, None])
    return x_CMQ.mul_(factor_M[:, None]).add_(reference_MQ).clamp_(0, 255)


def grey(x_CMQ: Tensor) -> Tensor:
    """Grey values (M, Q): luma of three channels, else the mean of the channels."""
    if len(x_CMQ) != 3:
        return torch.mean(x_CMQ, 0)
    red, green, blue = x_CMQ
    return torch.mul(red, GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def shift_hue(x_3MQ: Tensor, shift_M: Tensor) -> Tensor:
    """Turn the hue by ``shift_M`` turns, keeping value and chroma (the hexagon of HSV).

    With h the hue in sixths of a turn, m the value, c the chroma: a channel whose own hue is a (red 0, green 2,
    blue 4) becomes m − c + c·clamp(2 − d, 0, 1), d the distance from a to h around the hexagon.
    """
    red, green, blue = x_3MQ
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - least
    # with channels as shares of the chroma, |h| = 1 + g + b - r: h counts from red, up towards green, down to blue
    hue = (green + blue).sub_(red).sub_(least).div_(chroma.clamp_min(1e-6)).add_(1)
    hue = hue.copysign_(green - blue).add_(shift_M[:, None] * 6)
    hue.sub_((hue / 6).floor_(), alpha=6)
    # red's distance is min(h, 6 - h), hence measured from the other side, 3
    red = torch.addcmul(value - 2 * chroma, chroma, (hue - 3).abs_().clamp_(1, 2))
    top = value.add_(chroma)
    green = torch.addcmul(top, chroma, (hue - 2).abs_().clamp_(1, 2), value=-1)
    blue = torch.addcmul(top, chroma, hue.sub_(4).abs_().clamp_(1, 2), value=-1)
    return torch.stack([red, green, blue])


def to_grey(x_3MQ: Tensor, on_M: Tensor) -> Tensor:
    """Replace the samples where ``on_M`` (bool) by their grey values."""
    grey_MQ = grey(x_3MQ).mul_(on_M[:, None])
    keep_M = (~on_M).float()
    return x_3MQ.mul_(keep_M[:, None]).add_(grey_MQ)


def solarize(x_CMQ: Tensor, on_M: Tensor) -> Tensor:
    """Invert values of 128 and above in the samples where ``on_M`` (bool)."""
    return torch.where((x_CMQ >= 128) & on_M[:, None], 255 - x_CMQ, x_CMQ)
