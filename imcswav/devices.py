"""Where to compute."""

from __future__ import annotations

import torch

from imcswav.errors import ImcswavError


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA, then MPS, then the CPU; raises ImcswavError for a device that isn't there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ImcswavError(f"Device '{name}' can't be used here ({reason}); use --device auto or cpu.") from error
    return device
