"""Which pictures a page carries within its size budget."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from imcswav.clustering.thumbnails import Thumbnails

GALLERY = 0.6
"""Largest share of the budget that the larger pictures of the gallery take."""


@dataclass(frozen=True)
class Pictures:
    """base64 of JPEG files; empty where the run has no thumbnails."""

    large: dict[int, str] = field(default_factory=dict)
    """By image."""
    sheets: Sequence[str] = ()
    tiles: dict[int, int] = field(default_factory=dict)
    """Place of each image's tile, counted over all sheets."""
    tile: int = 0
    """Side of a tile in pixels."""
    note: str = ""
    """What the budget left out, in a sentence."""

    @classmethod
    def within(cls, budget: float, made: Thumbnails | None, side: int) -> Pictures:
        """Larger pictures first, then sheets of ``side``² tiles, as they come, while the bytes ``budget`` lasts."""
        if made is None:
            return cls(note="This run has no thumbnails, so images are shown by name.")
        left = budget
        large: dict[int, str] = {}
        for image, jpeg in made.large.items():
            text = base64.b64encode(jpeg).decode()
            if left - len(text) < (1 - GALLERY) * budget:
                break
            large[image] = text
            left -= len(text)
        sheets: list[str] = []
        for jpeg in made.sheets:
            text = base64.b64encode(jpeg).decode()
            if len(text) > left:
                break
            sheets.append(text)
            left -= len(text)
        shown = made.images[: len(sheets) * side * side]
        return cls(
            large, sheets, {image: place for place, image in enumerate(shown)}, made.tile, _note(made, large, shown)
        )


def _note(made: Thumbnails, large: dict[int, str], shown: Sequence[int]) -> str:
    missing = len(made.images) - len(shown)
    smaller = len(made.large) - len(large)
    parts = [f"{missing:,} images of the map have no picture"] if missing else []
    parts += [f"{smaller:,} pictures of the gallery are small ones"] if smaller else []
    return f"The size budget was used up: {' and '.join(parts)}; a larger one: --budget." if parts else ""
