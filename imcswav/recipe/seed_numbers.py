"""Seeds as a user writes them: "0-4", "0,3,7", "0-2,5". Imports no torch."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from typing import Any

MOST = 1000
"""Seeds of one call; more is taken for a slip."""


def seed_numbers(given: str | int | Iterable[int]) -> tuple[int, ...]:
    """The seeds, each once, in the order given; raises ValueError with a sentence."""
    if isinstance(given, str):
        found = [seed for part in given.split(",") for seed in _range(part.strip(), given)]
    else:
        found = [_whole(seed) for seed in ([given] if isinstance(given, int) else given)]
    seeds = tuple(dict.fromkeys(found))
    if not seeds or not all(isinstance(seed, int) and 0 <= seed < 2**63 for seed in seeds):
        raise ValueError(f"seeds are whole numbers from 0 on, not {given!r}")
    if len(seeds) > MOST:
        raise ValueError(f"{given!r} are more than {MOST} seeds")
    return seeds


def _whole(seed: Any) -> Any:
    """A whole number, NumPy's too, as Python's; what is none as it is."""
    try:
        return operator.index(seed)
    except TypeError:
        return seed


def _range(part: str, given: str) -> Iterable[int]:
    bounds = re.fullmatch(r"([0-9]{1,19})(?:\s*-\s*([0-9]{1,19}))?", part)
    if bounds is None:
        raise ValueError(f"seeds are written like 0-4, 0,3,7 or 0-2,5, not {given!r}")
    first, last = int(bounds[1]), int(bounds[2] or bounds[1])
    if last < first:
        raise ValueError(f"{part} runs backwards; write {last}-{first}")
    return range(first, min(last, first + MOST) + 1)
