"""Which image stands for which, among many: by hash, without comparing each with each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from imcswav.imaging.pixels import Array
from imcswav.progress import Advance

BANDS, BAND_BITS = 4, 16
MOST_DISTANCE = 2 * BANDS - 1
"""Bits in which two hashes may differ and be found: with more, every band could have two of them."""

_NEIGHBOURS = (0, *(1 << bit for bit in range(BAND_BITS)))
# a hash's bits of like frequency are alike in many images; were they one band, too many images would share it
_ORDER = np.random.default_rng(0).permutation(BANDS * BAND_BITS).astype(np.uint64)


def leaders(
    hashes: Sequence[int], small_NX: Array, distance: int, likeness: float, advance: Advance | None = None
) -> dict[int, int]:
    """The row that stands for each row that isn't kept, where rows come in the order of preference.

    A row is kept unless it shows the same as one kept before it: the hashes of 64 bits differ in at most ``distance``
    bits (0 … 7), and the thumbnails uint8 (N, X) correlate by at least ``likeness`` (Pearson's r over pixels and
    colours, which a change of brightness leaves as it is; 0 for one of a single level). So each row given shows the
    same as its leader, which a chain of likenesses (the pictures of a slow pan) wouldn't grant, and one scene 100,000
    times is no 5 · 10⁹ pairs. Kept rows of near hashes, as a fixed camera gives, are compared at once, by one product.

    Kept hashes are found by bands of 16 bits: of 7 bits in 4 bands, one band has at most one, so a look at the band
    and its 16 neighbours misses none. Raises ValueError for another ``distance``.
    """
    if not 0 <= distance <= MOST_DISTANCE:
        raise ValueError(f"distance is {distance}, it has to be 0 … {MOST_DISTANCE}")
    by_band: defaultdict[int, list[int]] = defaultdict(list)
    kept: defaultdict[int, list[int]] = defaultdict(list)
    leader: dict[int, int] = {}
    unit_NX = _standardized(small_NX)
    for row, value in enumerate(_mixed(hashes)):
        bands = [value >> BAND_BITS * band & (1 << BAND_BITS) - 1 | band << BAND_BITS for band in range(BANDS)]
        shared = [by_band[band ^ bits] for band in bands for bits in _NEIGHBOURS if band ^ bits in by_band]
        near = {other for others in shared for other in others if (other ^ value).bit_count() <= distance}
        rows = sorted(first for other in near for first in kept[other])
        same = np.flatnonzero(unit_NX[rows] @ unit_NX[row] >= likeness)
        if advance:
            advance()
        if len(same):
            leader[row] = rows[same[0]]
            continue
        if value not in kept:
            for band in bands:
                by_band[band].append(value)
        kept[value].append(row)
    return leader


def _standardized(small_NX: Array) -> Array:
    """Rows of mean 0 and length 1, float32, whose products are Pearson's r; zeros for one of a single level."""
    if not len(small_NX):
        return np.empty((0, 0), np.float32)
    unit_NX: Array = small_NX - small_NX.mean(1, keepdims=True, dtype=np.float32)
    length_N1 = np.sqrt(np.einsum("nx,nx->n", unit_NX, unit_NX))[:, None]
    unit_NX /= np.where(length_N1 > 0, length_N1, 1)
    return unit_NX


def _mixed(hashes: Sequence[int]) -> list[int]:
    """The hashes with their bits in another order."""
    hashes_N = np.array(hashes, dtype=np.uint64)
    mixed_N = np.zeros_like(hashes_N)
    for place, bit in enumerate(_ORDER):
        mixed_N |= ((hashes_N >> bit) & np.uint64(1)) << np.uint64(place)
    return [int(value) for value in mixed_N]
