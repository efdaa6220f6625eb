"""Uniform random numbers keyed by (seed, stream, position, view): a counter-based generator on any device.

SplitMix64 (Steele, Lea, Flood, 2014) of a counter. Unlike a torch.Generator, a sample's numbers depend neither
on the batch size nor on the device nor on how many processes share the batch, and the seed may be a tensor, so
that the draws can be part of a compiled or captured step.
"""

from __future__ import annotations

import torch
from torch import Tensor



def _signed(x: int) -> int:
    """The int64 with the same low 64 bits."""
    return (x + 2**63) % 2**64 - 2**63


GOLDEN, FIRST, SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def uniform(seed: int | Tensor, stream: int, positions_B: Tensor, views: int, count: int) -> Tensor:
    """``count`` numbers in [0, 1), float32 (J, B, v), for each of ``views`` crops of the images at ``positions``.

    ``seed`` is an integer below 2⁶³ or an int64 scalar tensor; ``positions_B`` int64, on the device to draw on.
    """
    device = positions_B.device
    start = seed if isinstance(seed, Tensor) else torch.full((), seed, dtype=torch.int64, device=device)
    key = _scramble(start + _signed(GOLDEN * (stream + 1)))
    sample_Bv = positions_B[:, None] * views + torch.arange(views, device=device)
    counter_JBv = sample_Bv * count + torch.arange(1, count + 1, device=device).view(-1, 1, 1)
    bits_JBv = _scramble(key + GOLDEN * counter_JBv)
    return _shift(bits_JBv, 40).float() * 2.0**-24


def _scramble(x: Tensor) -> Tensor:
    """SplitMix64's output function; int64 products wrap around."""
    x = (x ^ _shift(x, 30)) * FIRST
    x = (x ^ _shift(x, 27)) * SECOND
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right: torch's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
