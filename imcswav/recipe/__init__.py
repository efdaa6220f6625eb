"""The recipe: a tree of validated component settings. Imports no torch.

TOML tables at the top level that the recipe itself doesn't know (``[backbone]``, ``[heads.*]``,
``[[losses]]`` …) belong to the learner, whose Config owns its parts; they are moved under ``learner`` before
validation and back to the top level when the recipe is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from imcswav.component import Component, Settings
from imcswav.part import Part, without_none
from imcswav.recipe.seed_numbers import seed_numbers

DEFAULT_CALLBACKS = ("console", "metrics", "tensorboard", "evaluate", "health", "checkpoint")
"""In this order."""
LAST = "checkpoint"
"""After every other callback, a recipe's own too: a checkpoint has what they counted and wrote up to its step."""
DEFAULT_LEARNER = "multiview"
DEFAULT_OPTIMIZER = {"name": "adam", "lr": 1e-3}


class TrainerSettings(Settings):
    """How long and on what to train."""

    epochs: int = Field(100, ge=0)
    """Passes over the training images; 0 takes the network as it starts."""
    batch_size: int = Field(256, ge=2)
    """Images a step, over all processes; the last partial batch of an epoch is dropped."""
    max_steps: int | None = Field(None, ge=1)
    """Stop after this many steps, whatever ``epochs`` says; the schedule is scaled to it."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """bf16 autocast or float32; auto takes bf16 on GPUs that have it."""
    device: str = "auto"
    """"auto" (CUDA, then MPS, then CPU) or a torch device such as "cuda:1"."""
    channels_last: Literal["auto"] | bool = "auto"
    """Memory format of images and convolutions; auto asks the learner: batch norm per view wants the other one, unless
    it is compiled."""
    compile: Literal["auto"] | bool = "auto"
    """Compile crops, the network and the losses that allow it with torch.compile; auto does so on CUDA. Takes a minute
    or two at the start."""
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
    flip: bool = False
    """Average over each image and its mirror image, for twice the work; not where left and right matter."""
    bn_statistics: Literal["train", "test", "running"] = "train"
    """Batch-norm statistics at evaluation: re-estimated on training images as prediction sees them (at most
    10,000, not augmented); on the images that are scored, as the released IMC-SwAV program does; or as training
    left them. Of a learner that trains nothing, such as `frozen`, the default is "running": a network as it is."""


class EvaluationSettings(Settings):
    """What is trained on, and how assignments are scored where ground truth exists: labels are read here only."""

    train_on: Literal["train", "train+test"] = "train"
    """The protocol. "train" trains on the training split and scores the test split (the training split where it is the
    only one); "train+test" trains on both splits together and scores every one of these images, as much of the
    literature does. Figures of the two can't be compared."""

    metrics: list[Annotated[Component.Config, Part("metric")]] = ["acc", "nmi", "ari", "knn"]  # type: ignore[list-item]
    """Figures of the log and the summary."""

    signals: bool = True
    """Whether a finished run's summary says what can be known of its clusters without labels (``signals``)."""

    time_to_acc: float | None = Field(None, gt=0, le=1)
    """An ACC: the summary then says after how many seconds of training an evaluation first reached it. It is told
    alone, and neither stops nor chooses anything; how often there is one, the callback `evaluate` says."""

    plots: bool = True
    """Whether a finished run draws clusters.png, confusion.png and curves.png."""


class InitSettings(Settings):
    """A second stage: the network starts from a finished run's model, every part of it that fits by name and shape.

    A teacher takes the run's own where its model has one, else the trained network's weights. Buffers of losses, the
    optimiser and the schedule start anew, and so does a head that the run has not; the backbone has to fit. A
    backbone's own ``weights`` and ``pretrained`` then aren't loaded. ``environment.json`` names the run and the SHA-256
    of its weights.
    """

    run: Path | None = None
    """Folder of the finished run."""
    rung: str | None = Field(None, pattern=r"^[^/\\]+$")
    """In place of ``run``, for runs with several seeds: a rung of the same ladder, or any folder of seeds beside the
    one that is written. Each run starts from the run of the same seed there."""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if self.run is None and self.rung is None:
            raise ValueError("names no run to start from: give run, or rung")
        return self


class Expected(Settings):
    """Figures that others, or an earlier version, got with a recipe: what `imcswav reproduce` compares with.

    They say nothing about how to run and change nothing in a run. A recipe doesn't inherit them by ``extends``.
    """

    acc: float | None = Field(None, ge=0, le=1)
    """Mean accuracy over the runs behind the figure, between 0 and 1, by the recipe's own protocol."""
    acc_bn_test: float | None = Field(None, ge=0, le=1)
    """Mean accuracy scored with batch-norm statistics of the test images, as the released IMC-SwAV program does: what
    the summary calls so. Needs a labelled test split."""
    nmi: float | None = Field(None, ge=0, le=1)
    """Mean normalised mutual information."""
    ari: float | None = Field(None, ge=-1, le=1)
    """Mean adjusted Rand index."""
    std: float = Field(0.0, ge=0, le=1)
    """Sample standard deviation of the accuracy (acc, acc_bn_test) over those runs."""
    nmi_std: float | None = Field(None, ge=0, le=1)
    """That of nmi; unset: as ``std``."""
    ari_std: float | None = Field(None, ge=0, le=1)
    """That of ari; unset: as ``std``."""
    runs: int = Field(1, ge=1)
    """Number of runs behind the figures."""
    seeds: str | None = None
    """Seeds that `imcswav reproduce` runs, such as "0-4"; unset: the recipe's own."""
    tolerance: float = Field(0.01, ge=0, le=1)
    """A mean may always fall short by this much: machines and library versions differ."""

    @model_validator(mode="after")
    def _has_figures(self) -> Self:
        if not self.figures():
            raise ValueError("names no figure: give acc, acc_bn_test, nmi or ari")
        if self.seeds is not None:
            seed_numbers(self.seeds)
        return self

    def figures(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of each figure that is given, by its name in the summary."""
        known = {
            "acc": (self.acc, None),
            "acc_bn_test": (self.acc_bn_test, None),
            "nmi": (self.nmi, self.nmi_std),
            "ari": (self.ari, self.ari_std),
        }
        return {
            name: (mean, self.std if std is None else std) for name, (mean, std) in known.items() if mean is not None
        }


class Recipe(Settings):
    """A run, described completely."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Name of the folder under runs/."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Everything random in the run is drawn from it."""
    clusters: int = Field(ge=2)
    """K, the number of clusters."""
    data: Annotated[Component.Config, Part("data")]
    """Where the images come from."""
    learner: Annotated[Component.Config, Part("learner")] = DEFAULT_LEARNER  # type: ignore[assignment]
    """The network and its training step. Its settings may stand at the top level."""
    init: InitSettings | None = None
    """The finished run that the network starts from; unset: as its parts are initialised."""
    optimizer: Annotated[Component.Config, Part("optimizer")] = DEFAULT_OPTIMIZER  # type: ignore[assignment]
    """Moves the weights; unset: Adam with its authors' learning rate of 0.001."""
    schedule: Annotated[Component.Config, Part("schedule")] = "constant"  # type: ignore[assignment]
    """Factor on the learning rate in the course of the training."""
    clusterer: Annotated[Component.Config, Part("clusterer")] | None = None
    """Fitted on the features after training; its clusters then are the run's. Unset: the learner's own."""
    trainer: TrainerSettings = TrainerSettings()
    """How long and on what to train."""
    predict: PredictSettings = PredictSettings()
    """How whole images are assigned."""
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    """How assignments are scored."""
    expected: Expected | None = None
    """Figures to compare with; of this file only, and without influence on the run."""
    callbacks: dict[str, Annotated[Component.Config, Part("callback")]] = Field(default_factory=dict)
    """By name; the usual six are there unless ``enabled = false``."""

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
            named = {key: {"name": key, **value} if isinstance(value, dict) else value for key, value in filled.items()}
            last = {key for key, value in named.items() if isinstance(value, dict) and value["name"] == LAST}
            own["callbacks"] = {key: named[key] for key in sorted(named, key=last.__contains__)}
        return own

    @model_validator(mode="after")
    def _as_it_is(self) -> Self:
        """Leave batch norm alone in a network that isn't trained, unless the recipe asks for other statistics."""
        trains = getattr(getattr(self.learner, "owner", None), "trains", True)
        if not trains and "bn_statistics" not in self.predict.model_fields_set:
            object.__setattr__(self, "predict", self.predict.model_copy(update={"bn_statistics": "running"}))
        return self

    def resolved(self) -> Self:
        """The recipe with absolute paths to its data and its starting weights."""
        parts = {"data": self.data.resolved(), "learner": self.learner.resolved()}  # type: ignore[attr-defined]
        if self.init is not None:
            run = self.init.run
            parts["init"] = InitSettings(run=run and run.resolve(), rung=self.init.rung)
        return self.model_copy(update=parts)

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
