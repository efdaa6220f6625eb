"""Which image stands for which, among many: by hash, without comparing each with each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from imcswav.imaging.pixels import Array
from imcswav.progress import Advance

BITS = 64
"""Of a hash."""
BANDS, BAND_BITS = 4, 16
MOST_DISTANCE = 2 * BANDS - 1
"""Bits in which two hashes may differ and be found: with more, every band could have two of them."""
BLOCK, PIECE = 128, 8192
"""Rows that are looked up together, and rows that they are compared with at once, which bounds the memory."""

_NEIGHBOURS = np.array([0, *(1 << bit for bit in range(BAND_BITS))])
# a hash's bits of like frequency are alike in many images; were they one band, too many images would share it
_ORDER = np.random.default_rng(0).permutation(BITS)


def leaders(
    hashes: Sequence[int], small_NX: Array, distance: int, likeness: float, advance: Advance | None = None
) -> dict[int, int]:
    """The row that stands for each row that isn't kept, where rows come in the order of preference.

    A row is kept unless it shows the same as one kept before it: the hashes of 64 bits differ in at most ``distance``
    bits (0 … 7), and the thumbnails uint8 (N, X) correlate by at least ``likeness`` (Pearson's r over pixels and
    colours, which a change of brightness leaves as it is; 0 for one of a single level). So each row given shows the
    same as its leader, which a chain of likenesses (the pictures of a slow pan) wouldn't grant, and one scene 100,000
    times is no 5 · 10⁹ pairs. Where many kept rows have near hashes, as a fixed camera's do, a block of rows is
    compared with all of them by one product.

    Kept hashes are found by bands of 16 bits: of 7 bits in 4 bands, one band has at most one, so a look at the band
    and its 16 neighbours misses none. Raises ValueError for another ``distance``.
    """
    if not 0 <= distance <= MOST_DISTANCE:
        raise ValueError(f"distance is {distance}, it has to be 0 … {MOST_DISTANCE}")
    bits_NH, unit_NX = _bits(hashes), _standardized(small_NX)
    bands_NW = _bands(bits_NH)
    agreeing = BITS - 2 * distance  # the product of hashes as ±1
    by_band: defaultdict[int, list[int]] = defaultdict(list)
    leader: dict[int, int] = {}

    def alike(rows: Array, block: Array) -> Array:
        """Which rows (R,) show the same as each of the block, (R, B)."""
        near_RB = bits_NH[rows] @ bits_NH[block].T >= agreeing
        some = near_RB.any(1)
        near_RB[some] &= unit_NX[rows[some]] @ unit_NX[block].T >= likeness
        return near_RB

    for start in range(0, len(bands_NW), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(bands_NW)))
        found = _shared(by_band, bands_NW[block])
        first = np.full(len(block), -1)  # kept rows come in their order, and the first stands for a row
        for piece in range(0, len(found), PIECE):
            same_RB = alike(found[piece : piece + PIECE], block)
            for column in np.flatnonzero(same_RB.any(0) & (first < 0)):
                first[column] = found[piece + same_RB[:, column].argmax()]
        own_BB, kept = alike(block, block), np.zeros(len(block), bool)
        for place, row in enumerate(block.tolist()):
            if first[place] < 0 and (before := np.flatnonzero(own_BB[:place, place] & kept[:place])).size:
                first[place] = block[before[0]]
            if first[place] >= 0:
                leader[row] = int(first[place])
                continue
            kept[place] = True
            for band in bands_NW[row].tolist():
                by_band[band].append(row)
        if advance:
            advance(len(block))
    return leader


def _shared(by_band: dict[int, list[int]], bands_BW: Array) -> Array:
    """Kept rows, in order, that have a band or a neighbour of one in common with any of a block."""
    looked_up = np.unique(bands_BW[:, :, None] ^ _NEIGHBOURS).tolist()
    rows = set[int]().union(*(by_band[band] for band in looked_up if band in by_band))
    return np.array(sorted(rows), dtype=np.int64)


def _bits(hashes: Sequence[int]) -> Array:
    """The hashes (N, 64), their bits in another order, as -1 and 1 in float32."""
    bytes_N8 = np.array(hashes, dtype=">u8").view(np.uint8).reshape(-1, BITS // 8)
    bits_NH: Array = np.unpackbits(bytes_N8, axis=1).take(_ORDER, axis=1) * np.float32(2) - 1
    return bits_NH


def _bands(bits_NH: Array) -> Array:
    """The bands of each hash (N, W) as numbers, a different one for each place."""
    values_NW = np.packbits(bits_NH > 0, axis=1).view(">u2").astype(np.int64)
    return values_NW | np.arange(BANDS) << BAND_BITS


def _standardized(small_NX: Array) -> Array:
    """Rows of mean 0 and length 1, float32, whose products are Pearson's r; zeros for one of a single level."""
    if not len(small_NX):
        return np.empty((0, 0), np.float32)
    unit_NX: Array = small_NX - small_NX.mean(1, keepdims=True, dtype=np.float32)
    length_N1 = np.sqrt(np.einsum("nx,nx->n", unit_NX, unit_NX))[:, None]
    unit_NX /= np.where(length_N1 > 0, length_N1, 1)
    return unit_NX
