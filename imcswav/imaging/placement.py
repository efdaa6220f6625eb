"""Placement: where a data set's images lie while it is trained on, by size against free memory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from imcswav.imaging.read import physical_memory

Placement = Literal["auto", "device", "host", "stream"]

DEVICE_SHARE = 0.25
""" "auto" gives images at most this share of the device's free memory: network and activations need theirs."""
HOST_SHARE = 0.5
"""And at most this share of the available main memory; above it, what can stream does."""


def must_stream(placement: Placement, need: int) -> str:
    """Why a data set of ``need`` bytes that can stream is to be streamed; empty when it isn't."""
    if placement == "stream":
        return "as placement asks"
    have = available_memory()
    if placement == "auto" and need > HOST_SHARE * have:
        return f"{size(need)} are over {HOST_SHARE:.0%} of the {size(have)} of available memory"
    return ""


def choose(placement: Placement, need: int, device: torch.device) -> tuple[Literal["device", "host"], str]:
    """Where decoded images of ``need`` bytes are to lie, and a line that says so and why."""
    if device.type == "cpu":
        return "device", ""  # there is no other place
    if placement in ("device", "host"):
        where = f"on {device}" if placement == "device" else f"in main memory, copied to {device} batch by batch"
        return placement, f"Images: {size(need)} {where}, as placement asks."
    have = free_memory(device)
    share = f"{DEVICE_SHARE:.0%} of the {size(have)} free there"
    if need <= DEVICE_SHARE * have:
        return "device", f"Images: {size(need)} on {device}, at most {share}."
    return "host", f"Images: {size(need)} in main memory, copied to {device} batch by batch: over {share}."


def free_memory(device: torch.device) -> float:
    """Bytes free on the device; one that shares main memory has what is available of that."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return available_memory()


def available_memory() -> float:
    """Bytes of main memory that can be had without swapping, in a Linux container no more than its limit."""
    found = [physical_memory()]
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            found.append(float(line.split()[1]) * 1024)
    for line in _lines(Path("/sys/fs/cgroup/memory.max")):
        if line.strip().isdigit():
            found.append(float(line))
    return min(found)


def size(count: float) -> str:
    """Bytes for a reader."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # another system
        return []
