"""What a sample of image files tells before any is read for training: which can't be decoded, and room for all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from imcswav.errors import Problem
from imcswav.imaging.decoded_cache import cache_root, no_room, taken
from imcswav.imaging.pixels import Resize
from imcswav.imaging.placement import Placement, size
from imcswav.imaging.read import physical_memory, printable, try_decode

PLACE = "data.root"
"""The setting that says where the files are."""
INSPECT = "`imcswav inspect` lists them all."


def spread(count: int, sample: int) -> list[int]:
    """At most ``sample`` of ``count`` positions, as far from each other as can be, both ends among them."""
    if count <= sample:
        return list(range(count))
    return [round(place * (count - 1) / (sample - 1)) for place in range(sample)]


def unreadable(
    paths: Sequence[Path], *, sample: int, side: int, channels: int, resize: Resize
) -> tuple[int, list[tuple[str, str]]]:
    """How many files were decoded, spread over ``paths``, and path and reason of each that can't be."""
    chosen = [paths[index] for index in spread(len(paths), sample)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is either harmless or the reason
        found = [(path, try_decode(path, size=side, channels=channels, resize=resize)) for path in chosen]
    return len(chosen), [(printable(path), reason) for path, reason in found if isinstance(reason, str)]


def told(count: int, looked: int, bad: Sequence[tuple[str, str]], *, least: int) -> list[Problem]:
    """Bad files of a sample as a problem: an error where fewer than ``least`` images are left to take.

    Of a sample that isn't everything, an error only where nothing in it can be read.
    """
    if not bad:
        return []
    name, reason = bad[0]
    which = f"{len(bad)} of {count} files" if looked == count else f"{len(bad)} of {looked} sampled files"
    message = f"{which} can't be read (the first is {name}: {reason})"
    if looked - len(bad) < (least if looked == count else 1):
        enough = f" and at least {least} must be" if looked == count else ""
        return [Problem(PLACE, f"{message}{enough}.", "Mend them, or name another folder.")]
    return [Problem(PLACE, f"{message}; such files are left out.", INSPECT, severity="warning")]


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
