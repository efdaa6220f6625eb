"""Learners: everything with weights, and the one training step the trainer calls."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from imcswav.component import Component
from imcswav.data import Batch, DataFacts, Images
from imcswav.errors import Problem
from imcswav.phases import HOOKS, NotRecordableError
from imcswav.step import Progress


@dataclass(frozen=True)
class RecipeFacts:
    """What a learner's ``check`` may know: the data set's facts and the recipe's numbers."""

    data: DataFacts | None
    clusters: int
    batch_size: int
    steps: int | None = None
    """Optimiser steps of the whole training, where the number of images is known."""
    epochs: int | None = None
    """Passes over the training images; 0: nothing is trained."""
    clusterer: bool = False
    """Whether a clusterer is fitted after training; its clusters then are the run's."""


@dataclass(frozen=True)
class Embedding:
    """Features (N, F) of images and, where the learner has clusters of its own, their probabilities (N, K)."""

    features: Tensor
    probabilities: Tensor | None


@dataclass(frozen=True)
class Epoch:
    """The start of an epoch, for parts that look at all training images once in a while."""

    progress: Progress
    images: Images
    """All training images, uint8 (N, C, H, W), in the order of ``Batch.index``."""
    seed: int
    """Unique for the epoch: whatever is drawn comes from it."""
    outputs: Callable[[str], Tensor] | None = None
    """The learner's to give its parts: rows (N, D) of a head, such as "teacher.projection", for all whole images."""
    clusters: int | None = None
    """The learner's to give, too: K."""


class Learner(Component, nn.Module, kind="learner"):
    """A network with a training step. Build: ``config.build(facts=DataFacts, clusters=K)``.

    The Config owns the parts (backbone, heads, losses …); in a recipe their tables stand at the top level.
    ``batch`` is whatever the recipe's data yields.
    """

    class Config(Component.Config):
        def restored(self) -> Self:
            """The same settings for loading saved weights: without sources of starting weights in any part."""
            return self._each("restored")

        def resolved(self) -> Self:
            """The same settings with absolute paths in every part, so that a run's recipe works from every folder."""
            return self._each("resolved")

        def _each(self, method: str) -> Self:
            parts = {name: getattr(self, name) for name in type(self).model_fields}
            return self.model_copy(update={k: getattr(v, method)() for k, v in parts.items() if hasattr(v, method)})

        def sampled(self, images: int) -> Self:
            """The same settings for one step on so few images: what collects images over steps is full at once."""
            return self

        def check_recipe(self, facts: RecipeFacts) -> list[Problem]:
            """Problems between parts, known before anything is downloaded or built."""
            return []

    trains: ClassVar[bool] = True
    """False where there is no training step."""
    assigns_by_views: ClassVar[bool] = True
    """False where ``predict.views`` changes nothing."""
    memory_format: torch.memory_format = torch.contiguous_format
    """Memory format of image batches; the trainer sets it together with the weights' own."""

    def __init__(self, config: Any, *, facts: DataFacts, clusters: int) -> None:
        super().__init__(config)
        self.facts, self.clusters = facts, clusters

    def forward(self, batch: Batch, progress: Progress, seed: int | Tensor) -> dict[str, Tensor]:
        """One training step's scalars on the device; ``"loss"`` is the one to minimise.

        ``seed`` is unique for the step: every random draw of the step comes from it. It is an integer below 2⁶³ or
        an int64 scalar on the device, with the same draws.
        """
        raise NotImplementedError

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        """Name and tensor of every parameter that is trained."""
        return [(name, parameter) for name, parameter in self.named_parameters() if parameter.requires_grad]

    def depths(self) -> dict[str, int]:
        """Depth of the backbone's parameters by name, 0 nearest to the images; what isn't named is above them all."""
        backbone = getattr(self, "backbone", None)
        found = {} if backbone is None else backbone.depths()
        return {f"backbone.{name}": depth for name, depth in found.items()}

    def sources(self) -> dict[str, tuple[str, ...]]:
        """What can start from a finished run: each part by name, and the names of what it takes there, the best first.

        A part is taken as a whole or not at all.
        """
        return {name: (name,) for name, part in self.named_children() if part.state_dict()}

    def prefers_channels_last(self, compiled: bool) -> bool:
        """What the recipe's ``channels_last = "auto"`` means for this network; ``compiled``: as training will be."""
        return True

    def compile_parts(self, wanted: bool = True) -> None:
        """Compile what torch.compile is worth for, leaving the names of weights alone; or undo it."""

    def phase(self, progress: Progress) -> Hashable:
        """What of the progress a step depends on: steps of equal phase can be replayed from one recording.

        Raises NotRecordableError when that isn't known: a learner with hooks of its own has to tell.
        """
        for name in HOOKS:
            if getattr(type(self), name) is not getattr(Learner, name):
                raise NotRecordableError(f"learner '{self.name}' has the hook {name} and no phase(progress)")
        return None

    def rehearse(self, images: int) -> None:
        """Before steps that are only tried or measured, without epochs: have all losses on.

        ``images``: places of training images, 0 … N − 1, are what the steps' ``Batch.index`` has.
        """

    def start_epoch(self, epoch: Epoch) -> None:
        """Before an epoch's first step, outside any recording.

        What it makes has to last in buffers, filled in place: a recorded step goes on reading the same memory. A run
        resumed within an epoch doesn't come by here again.
        """

    def prepare(self, progress: Progress) -> None:
        """Before a step, outside any recording: fill the tensors that change from step to step."""

    def before_step(self, progress: Progress) -> None:
        """Before forward."""

    def before_update(self, progress: Progress) -> None:
        """Gradients are there, the optimiser has not moved yet."""

    def after_step(self, progress: Progress) -> None:
        """The optimiser has moved."""

    def lasting(self) -> str | None:
        """A digest of all that features of a given image depend on, so that they can be kept for later runs; None: not.

        Asked for once nothing changes any more.
        """
        return None

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std, a value a channel in [0, 1], by which ``embed`` normalises images."""
        return self.facts.mean, self.facts.std

    def take_normalization(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """The weights of a finished run were put in, which normalised images by these, a value a channel.

        For learners that can change theirs, where no setting says otherwise.
        """

    def encoder(self) -> nn.Module:
        """The network of ``embed``'s features: normalised images (N, C, H, W) → features (N, F)."""
        return self.get_submodule("backbone")

    def embed(self, images_NCHW: Tensor, views: int = 1) -> Embedding:
        """Features and cluster probabilities of uint8 images, averaged over ``views`` mild views if more than 1.

        Whether batch statistics or running statistics are used is up to ``train()`` / ``eval()``, as ever.
        """
        raise NotImplementedError

    def copy_clusters(self, images_NCHW: Tensor) -> Tensor | None:
        """Clusters (N, E) of uint8 images by each copy of the head that assigns, the used one first.

        None where there is one. For signals alone: whole images, one view.
        """
        return None


class TrainingState(nn.Module):
    """Base of a learner's modules whose tensors only training needs: checkpoints have them, exported models don't."""

    exported: bool = False
    """True where prediction needs them after all."""
    sized_by_state: tuple[str, ...] = ()
    """Buffers that are empty until training makes them: loading takes the saved shape and type."""
    of_rank: tuple[str, ...] = ()
    """Buffers that come of a process's own images, so that every process has others."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name in self.sized_by_state:
            saved = state_dict.get(f"{prefix}{name}")
            if saved is not None:
                setattr(self, name, self.get_buffer(name).new_empty(saved.shape, dtype=saved.dtype))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def training_only(learner: nn.Module) -> set[str]:
    """Names in the learner's state dict of the tensors of every TrainingState that isn't exported."""
    parts = {
        name: part for name, part in learner.named_modules() if isinstance(part, TrainingState) and not part.exported
    }
    return {f"{name}.{key}" for name, part in parts.items() for key in part.state_dict()}
