"""Uniform random numbers keyed by (seed, stream, position, view): a counter-based generator on any device.

Unlike a torch.Generator's, a sample's numbers depend neither on the batch size nor on the device nor on how
many processes share the batch, and the seed may be a tensor, so that the draws can be part of a compiled or
captured step. The hash is a 32-bit multiply-xorshift one with constants from Wellons' Hash Prospector, applied
twice; its products of 32 by 31 bits never leave int64.
"""

from __future__ import annotations

import torch
from torch import Tensor

MASK = 0xFFFFFFFF


def uniform(seed: int | Tensor, stream: int, positions_B: Tensor, views: int, count: int) -> Tensor:
    """``count`` numbers in [0, 1), float32 (J, B, v), for ``views`` crops of the images at ``positions_B``.

    ``seed`` is an integer below 2⁶³ or an int64 scalar tensor; ``positions_B`` is int64, on the device to draw
    on. Streams are independent of each other.
    """
    device = positions_B.device
    start = seed if isinstance(seed, Tensor) else torch.full((), seed, dtype=torch.int64, device=device)
    first = _hash((start & MASK) ^ _hash(((start >> 32) + (stream + 1) * 0x9E3779B9) & MASK))
    second = _hash(first ^ (start >> 32))
    sample_Bv = positions_B[:, None] * views + torch.arange(views, device=device)
    counter_JBv = sample_Bv * count + torch.arange(count, device=device).view(-1, 1, 1)
    bits_JBv = _hash(_hash((counter_JBv & MASK) ^ first) ^ second)
    return (bits_JBv >> 8).float() * 2.0**-24


def _hash(x: Tensor) -> Tensor:
    """A bijection of the integers below 2³² in which every bit of the result hangs on every bit of ``x``."""
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & MASK
    x = ((x ^ (x >> 15)) * 0x735A2D97) & MASK
    return x ^ (x >> 15)
