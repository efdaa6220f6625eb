"""Seeds made of seeds."""

from __future__ import annotations


def mix(seed: int, *keys: int) -> int:
    """A 63-bit seed from several integers (splitmix64), so that nearby keys give unrelated draws."""
    state = seed & 0xFFFFFFFFFFFFFFFF
    for key in keys:
        state = (state + (key + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
