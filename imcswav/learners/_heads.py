"""Heads that read each other: their order, and running some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from imcswav.heads import Head


def sorted_heads(settings: Mapping[str, Head.Config]) -> list[str]:
    """Names of heads so that each comes after the one it reads; raises ValueError on a cycle or a gap."""
    done: list[str] = []
    waiting = dict(settings)
    while waiting:
        ready = [name for name, head in waiting.items() if head.input in ("features", *done)]
        if not ready:
            raise ValueError(f"heads {', '.join(waiting)} read each other or a head that isn't there")
        done += ready
        for name in ready:
            del waiting[name]
    return done


def path(settings: Mapping[str, Head.Config], name: str) -> list[str]:
    """The heads between the features and ``name``, in the order they run; none where it is no head."""
    found: list[str] = []
    while name in settings and name not in found:
        found.insert(0, name)
        name = settings[name].input
    return found


def run_heads(heads: nn.ModuleDict, rows: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The rows (M, ·) with those of further heads, each of which reads one that is there; no row in half precision."""
    for name in names:
        head = heads[name]
        assert isinstance(head, Head)
        source = rows[head.config.input]
        with torch.autocast(source.device.type, enabled=head.mixed_precision and _autocast(source)):
            rows[name] = float32(head(source.detach() if head.config.detach else source))
    return rows


def _autocast(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type)


def float32(x: Tensor) -> Tensor:
    """Half precision as single, all else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
