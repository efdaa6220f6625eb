"""Optimizers: torch's and timm's, chosen by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from imcswav.component import Component, Settings
from imcswav.errors import Problem, RecipeError

NAMES_SHOWN = 5
"""How many parameter names an error shows."""


class Group(Settings):
    """Parameters that are trained otherwise than the rest."""

    match: str = Field(min_length=1)
    """Glob over names of parameters, such as "backbone.*" or "heads.predictor.*"; of several groups that match, the
    first counts."""
    lr_factor: float = Field(1.0, gt=0)
    """Times the learning rate, and times what ``layer_decay`` gives."""
    weight_decay: float | None = Field(None, ge=0)
    """Instead of the optimiser's; unset: that one."""


class Optimizer(Component, kind="optimizer"):
    """Makes a torch optimiser. A parameter whose ``grad`` is None is skipped: no decay, no state."""

    class Config(Component.Config):
        lr: float = Field(gt=0)
        """Learning rate; the schedule multiplies it."""
        layer_decay: float | None = Field(None, gt=0, le=1)
        """Each layer of the backbone trains with this times the learning rate of the layer above; heads train with the
        full one (Clark et al. 2020, arXiv 2003.10555)."""
        decay_norms: bool = True
        """Whether weight decay also takes parameters with fewer than two dimensions: biases, and norms' weights."""
        groups: list[Group] = []
        """Parameters with a learning rate or weight decay of their own."""

    config: Config
    algorithm: ClassVar[Callable[..., torch.optim.Optimizer]]
    """torch's class; the Config's settings are its keywords."""
    implementation: ClassVar[Mapping[str, Any] | None] = None
    """Keywords that choose among implementations of the same steps; None: fused, where torch has the kernel."""

    def make(
        self, named_parameters: Iterable[tuple[str, nn.Parameter]], depths: Mapping[str, int] | None = None
    ) -> torch.optim.Optimizer:
        """The torch optimiser over these parameters, fused where torch has the kernel: on CUDA and the CPU.

        On CUDA it can be recorded, where torch makes a difference. ``depths`` is ``Learner.depths()``. The default
        learning rate of the optimiser is the Config's, whatever its groups have. Raises RecipeError as `groups`.
        """
        groups, algorithm = self.groups(named_parameters, depths or {}), type(self).algorithm
        groups = groups or [{"params": []}]  # nothing to train is no mistake here; torch takes no empty list
        devices = {parameter.device.type for group in groups for parameter in group["params"]}
        fused = {"fused": devices <= {"cuda", "cpu"}}
        options = dict(fused if self.implementation is None else self.implementation)
        if devices == {"cuda"} and "capturable" in inspect.signature(algorithm).parameters:
            options["capturable"] = True
        return algorithm(groups, **self.config.model_dump(exclude=_GROUPING), **options)

    def groups(
        self, named_parameters: Iterable[tuple[str, nn.Parameter]], depths: Mapping[str, int]
    ) -> list[dict[str, Any]]:
        """torch's parameter groups, as few as the settings allow, each with its parameters in the order given.

        Raises RecipeError for a pattern that matches nothing, or nothing that earlier ones leave, and for
        ``layer_decay`` without known layers.
        """
        named = list(named_parameters)
        self._check([name for name, _ in named], depths)
        found: dict[tuple[float, float | None], list[nn.Parameter]] = {}
        for name, parameter in named:
            found.setdefault(self._treatment(name, parameter, depths), []).append(parameter)
        return [
            {"params": parameters}
            | ({} if factor == 1 else {"lr": self.config.lr * factor})
            | ({} if decay is None else {"weight_decay": decay})
            for (factor, decay), parameters in found.items()
        ]

    def _treatment(self, name: str, parameter: nn.Parameter, depths: Mapping[str, int]) -> tuple[float, float | None]:
        """Factor of the learning rate, and the weight decay where it isn't the optimiser's."""
        own = next((group for group in self.config.groups if fnmatchcase(name, group.match)), None)
        factor, decay = (own.lr_factor, own.weight_decay) if own else (1.0, None)
        if self.config.layer_decay is not None and name in depths:
            factor *= self.config.layer_decay ** (max(depths.values()) + 1 - depths[name])
        if decay is None and not self.config.decay_norms and parameter.ndim < 2:
            decay = 0.0
        return factor, None if decay == getattr(self.config, "weight_decay", None) else decay

    def _check(self, names: list[str], depths: Mapping[str, int]) -> None:
        problems, left = list[Problem](), set(names)
        for number, group in enumerate(self.config.groups):
            place = f"optimizer.groups.{number}.match"
            matched = {name for name in names if fnmatchcase(name, group.match)}
            if not matched:
                shown = ", ".join(names[:: max(len(names) // NAMES_SHOWN, 1)][:NAMES_SHOWN])
                message = f"no parameter is called like '{group.match}'."
                problems.append(Problem(place, message, f"There are {len(names)}, such as {shown}.", group.match))
            elif not matched & left:
                message = f"earlier groups take every parameter that is called like '{group.match}'."
                problems.append(Problem(place, message, "Put it before them, or leave it out.", group.match))
            left -= matched
        if self.config.layer_decay is not None and not depths:
            message = "the backbone doesn't tell which layer a parameter belongs to."
            remedy = "Leave it out, or use groups."
            problems.append(Problem("optimizer.layer_decay", message, remedy, self.config.layer_decay))
        if problems:
            raise RecipeError(f"optimizer {self.name}", problems)


_GROUPING = set(Optimizer.Config.model_fields) - {"lr"}
"""Settings that make the groups and are no keywords of torch's class."""
