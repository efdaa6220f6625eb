"""The recipe: a tree of validated component settings. Imports no torch.

TOML tables at the top level that the recipe itself doesn't know (``[backbone]``, ``[heads.*]``,
``[[losses]]`` …) belong to the learner, whose Config owns its parts; they are moved under ``learner`` before
validation and back to the top level when the recipe is written.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from imcswav.component import Component, Settings
from imcswav.part import Part, without_none

DEFAULT_CALLBACKS = ("console", "metrics", "tensorboard", "checkpoint", "evaluate")
DEFAULT_LEARNER = "multiview"


class TrainerSettings(Settings):
    """How long and on what to train."""

    epochs: int = Field(100, ge=1)
    """Passes over the training images."""
    batch_size: int = Field(256, ge=2)
    """Images a step, over all processes; the last partial batch of an epoch is dropped."""
    max_steps: int | None = Field(None, ge=1)
    """Stop after this many steps, whatever ``epochs`` says; the schedule is scaled to it."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """bf16 autocast or float32; auto takes bf16 on GPUs that have it."""
    device: str = "auto"
    """"auto" (CUDA, then MPS, then CPU) or a torch device such as "cuda:1"."""
    channels_last: Literal["auto"] | bool = "auto"
    """Memory format of images and convolutions; auto asks the learner, whose per-view batch norm wants the other."""
    compile: Literal["auto"] | bool = "auto"
    """Compile crops and backbone with torch.compile; auto does so on CUDA. Takes a minute or two at the start."""
    cuda_graph: Literal["auto"] | bool = "auto"
    """Record the training step once and replay it, which spares its thousands of launches; auto: on CUDA, where
    every part can be recorded. ``true`` makes it an error when one can't."""
    clip_gradient: float | None = Field(None, gt=0)
    """Largest norm of the gradient; larger ones are scaled down."""
    deterministic: bool = False
    """Refuse operations that can't repeat bit for bit."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of torch; unset leaves torch's choice. Bit-identical resuming needs the same count."""
    log_every: int = Field(50, ge=1)
    """Steps between two log lines; logging is the only time the host waits for the device."""

    def steps(self, images: int) -> int:
        """Optimiser steps of the whole training on so many images."""
        steps = images // self.batch_size * self.epochs
        return steps if self.max_steps is None else min(steps, self.max_steps)


class PredictSettings(Settings):
    """How a trained model assigns whole images."""

    views: int = Field(1, ge=1, le=64)
    """1 assigns the whole image; more averages over that many mild crops, the same for every image."""
    bn_statistics: Literal["train", "test", "running"] = "train"
    """Batch-norm statistics at evaluation: re-estimated on training images as prediction sees them (at most
    10,000, not augmented); on the images that are scored, as the released IMC-SwAV program does; or as training
    left them."""


class EvaluationSettings(Settings):
    """How assignments are scored where ground truth exists. Labels are read here and nowhere else."""

    metrics: list[Annotated[Component.Config, Part("metric")]] = ["acc", "nmi", "ari", "knn"]  # type: ignore[list-item]
    """Figures of the log and the summary."""


class Recipe(Settings):
    """A run, described completely."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Name of the folder under runs/."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Everything random in the run is drawn from it."""
    clusters: int = Field(ge=2)
    """K, the number of clusters."""
    data: Annotated[Component.Config, Part("data")]
    learner: Annotated[Component.Config, Part("learner")]
    optimizer: Annotated[Component.Config, Part("optimizer")]
    schedule: Annotated[Component.Config, Part("schedule")] = "constant"  # type: ignore[assignment]
    clusterer: Annotated[Component.Config, Part("clusterer")] | None = None
    """Fitted on the features after training; its clusters then are the run's. Unset: the learner's own."""
    trainer: TrainerSettings = TrainerSettings()
    predict: PredictSettings = PredictSettings()
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    callbacks: dict[str, Annotated[Component.Config, Part("callback")]] = Field(default_factory=dict)
    """By name; the usual five are there unless ``enabled = false``."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, tables: Any) -> Any:
        """Move the learner's tables under it and fill in the usual callbacks."""
        if not isinstance(tables, dict):
            return tables
        own = gather(tables)
        learner = own.setdefault("learner", {})
        if isinstance(learner, dict):
            own["learner"] = {"name": DEFAULT_LEARNER, **learner}
        callbacks = own.get("callbacks", {})
        if isinstance(callbacks, dict):
            filled: dict[str, Any] = {name: {} for name in DEFAULT_CALLBACKS} | callbacks
            own["callbacks"] = {
                key: {"name": key, **value} if isinstance(value, dict) else value for key, value in filled.items()
            }
        return own

    def resolved(self) -> Self:
        """The recipe with absolute paths to its data."""
        return self.model_copy(update={"data": self.data.resolved()})  # type: ignore[attr-defined]

    def tables(self) -> dict[str, Any]:
        """The recipe as TOML tables, every default spelled out; loading them gives an equal recipe."""
        dumped: dict[str, Any] = without_none(self.model_dump(mode="json"))
        learner = dumped["learner"]
        nested = {
            key: value
            for key, value in learner.items()
            if isinstance(value, dict | list) and key not in type(self).model_fields and key != "extends"
        }
        dumped["learner"] = {key: value for key, value in learner.items() if key not in nested}
        return dumped | nested


def gather(tables: dict[str, Any]) -> dict[str, Any]:
    """The same tables with those that belong to the learner moved under it, before defaults are filled in."""
    own = {key: value for key, value in tables.items() if key in Recipe.model_fields}
    others = {key: value for key, value in tables.items() if key not in Recipe.model_fields}
    learner = own.get("learner", {})
    if isinstance(learner, str):
        learner = {"name": learner}
    if not isinstance(learner, dict):
        return own | others
    return own | {"learner": learner | others} if others else own
