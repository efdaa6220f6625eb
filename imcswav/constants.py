"""Small tables on the device."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

Values = tuple[float, ...] | tuple[tuple[int, ...], ...]


def constant(values: Values, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """The values on ``device``, copied once: a copy in every step would wait for the host.

    Compiled code computes them: the compiler would put the copy into every call, and torch 2.11 takes
    ``assume_constant_result`` only once in a graph.
    """
    if not torch.compiler.is_compiling():
        return _copied(values, device, dtype)
    rows = [row if isinstance(row, tuple) else (row,) for row in values]
    table = torch.stack([torch.full((), value, dtype=dtype, device=device) for row in rows for value in row])
    return table.view(len(rows), -1) if isinstance(values[0], tuple) else table


@cache
def _copied(values: Values, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device)
