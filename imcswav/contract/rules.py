"""The tools of the checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from imcswav.step import Progress

VIEWS, GLOBAL, IMAGES, PROTOTYPES, CLUSTERS, WIDTH, SIZE = 6, 2, 8, 12, 5, 16, 32
PROGRESS = Progress(step=3, epoch=1, steps=100, steps_per_epoch=10)
Check = Callable[[Any, dict[str, Any]], None]


class RuleError(Exception):
    """A rule doesn't hold; the text says in what."""


def require(condition: bool, detail: str = "") -> None:
    """Raise RuleError unless the condition holds."""
    if not condition:
        raise RuleError(detail)


def build(config: Any, runtime: dict[str, Any], **usual: Any) -> Any:
    """Build a component from what it takes of the usual runtime values; ``runtime`` replaces and adds."""
    taken = inspect.signature(config.owner.__init__).parameters
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    return config.build(**{key: value for key, value in (usual | runtime).items() if every or key in taken})


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pictures(channels: int, count: int = 4) -> Tensor:
    """Random uint8 images (count, channels, 32, 32), the same every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, SIZE, SIZE), generator=generator, dtype=torch.uint8)


def finite_gradients(module: nn.Module) -> bool:
    """Whether every gradient there is, is finite."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return all(bool(gradient.isfinite().all()) for gradient in gradients)


def takes_hooks(config: Any, runtime: dict[str, Any]) -> None:
    """The hooks that a head or loss may have, called as the learner calls them."""
    part = build(config, runtime, in_features=WIDTH, clusters=CLUSTERS)
    for name in ("prepare", "before_step", "before_update", "after_step"):
        getattr(part, name, lambda progress: None)(PROGRESS)
