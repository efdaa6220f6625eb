"""What a sample of images tells before all are read for training: some that can't be decoded, too little room."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from imcswav.errors import Problem
from imcswav.imaging.decoded_cache import cache_root, no_room, taken
from imcswav.imaging.pixels import Resize
from imcswav.imaging.placement import Placement, size
from imcswav.imaging.read import physical_memory, try_decode


def spread(count: int, sample: int) -> list[int]:
    """At most ``sample`` of ``count`` positions, as far from each other as can be, both ends among them."""
    if count <= sample:
        return list(range(count))
    return [round(place * (count - 1) / (sample - 1)) for place in range(sample)]


@dataclass(frozen=True)
class Sample:
    """``looked`` of ``count`` images were decoded; ``bad`` has name and reason of each that can't be."""

    count: int
    looked: int
    bad: list[tuple[str, str]]

    @classmethod
    def of(
        cls, count: int, named: Iterable[tuple[str, Any]], *, side: int, channels: int, resize: Resize
    ) -> Sample:  # fmt: skip
        """Decode what ``decode`` takes, each with its name; nothing is kept."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns of is either harmless or the reason
            found = [(name, try_decode(source, size=side, channels=channels, resize=resize)) for name, source in named]
        return cls(count, len(found), [(name, reason) for name, reason in found if isinstance(reason, str)])

    def problems(self, place: str, least: int, remedy: str) -> list[Problem]:
        """A warning; an error where fewer than ``least`` images are left, or nothing of a larger lot can be read.

        ``place`` is the setting that says where the images are, ``remedy`` tells how all bad ones can be found.
        """
        if not self.bad:
            return []
        (name, reason), whole = self.bad[0], self.looked == self.count
        which = f"{len(self.bad)} of {self.looked} {'images' if whole else 'sampled images'}"
        message = f"{which} can't be read (the first is {name}: {reason})"
        if self.looked - len(self.bad) < (least if whole else 1):
            enough = f", and at least {least} must be" if whole else ""
            return [Problem(place, f"{message}{enough}.", "Mend them, or name other images.")]
        return [Problem(place, f"{message}; such ones are left out.", remedy, severity="warning")]


def memory(count: int, channels: int, side: int, placement: Placement) -> list[Problem]:
    """An error where decoded images don't fit into this machine's memory."""
    need, have = count * channels * side * side, physical_memory()
    if need <= have:
        return []
    message = f"{count} images of {channels}×{side}×{side} need {size(need)} of memory, and there are {size(have)}."
    remedy = 'Use placement = "auto", which streams them, or fewer (limit) or smaller (size) ones.'
    return [Problem("data.placement", message, remedy, placement)]


def cache_room(place: str, need: int) -> list[Problem]:
    """A warning where decoded images of ``need`` bytes can't be kept in the cache: the run goes on without it."""
    folder = cache_root() / place
    try:
        why = no_room(folder, need - taken(place))
    except OSError as error:
        why = error.strerror or str(error)
    if not why:
        return []
    message = f"decoded images can't be kept in {folder} ({why}), so every epoch decodes them again."
    return [Problem("data", message, "Make room there, or name another folder with IMCSWAV_CACHE.", severity="warning")]
