"""Small tables on the device."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

Values = tuple[float, ...] | tuple[tuple[int, ...], ...]


def constant(values: Values, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """The values on ``device``, copied once: a copy in every step would wait for the host."""
    return _copied(values, device, dtype)


# compiled code then holds the tensor, in place of a copy at every call
constant = torch.compiler.assume_constant_result(constant)


@cache
def _copied(values: Values, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device)
