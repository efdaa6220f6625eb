"""Where to compute."""

from __future__ import annotations

import torch

from imcswav.distributed import own_gpu, world_size
from imcswav.errors import DeviceError


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA, then MPS, then the CPU; raises DeviceError for a device that isn't there.

    Of processes that train together each takes a GPU of its own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if world_size() > 1 and name == "cuda" and torch.cuda.is_available():
        name = f"cuda:{own_gpu()}"
        torch.cuda.set_device(name)
    elif world_size() > 1 and name.startswith("cuda:"):
        raise DeviceError(f"Each of several processes takes a GPU of its own; choose cuda in place of '{name}'.")
    if world_size() > 1 and torch.device(name).type not in ("cuda", "cpu"):
        raise DeviceError(f"Several processes can't share the device '{name}'; choose the cpu.")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"Device '{name}' can't be used here ({reason}); choose auto or cpu.") from error
    return device
