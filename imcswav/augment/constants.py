"""Small tables on the device."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


@cache
def constant(values: tuple[float, ...] | tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    """The values as float32 on ``device``, copied once: a copy in every step would wait for the host."""
    return torch.tensor(values, dtype=torch.float32, device=device)
