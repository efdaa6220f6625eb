"""Components small enough to read, and a registry of them, for tests of recipes."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from imcswav.callbacks import Callback
from imcswav.component import Settings
from imcswav.data import Data
from imcswav.heads import Head
from imcswav.learners import Learner
from imcswav.losses import Loss
from imcswav.metrics import Metric
from imcswav.optimizers import Optimizer
from imcswav.part import Part
from imcswav.plugins import Registry
from imcswav.recipe import DEFAULT_CALLBACKS
from imcswav.schedules import Schedule
from imcswav.solvers import Solver


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Folder(Data, name="folder"):
    """Images of a folder."""

    class Config(Data.Config):
        root: Path
        """Where they are."""
        colour: Colour = Colour.RED
        """A choice."""
        limit: int | None = Field(None, gt=0)
        """How many."""


class Made(Data, name="made"):
    """Images out of thin air."""

    class Config(Data.Config):
        count: int = Field(100, ge=2)
        """How many."""
        label: str = "x"
        """A text."""


class Sharp(Solver, name="sharp"):
    """A solver."""

    class Config(Solver.Config):
        epsilon: float = Field(0.05, gt=0)
        """Sharpness."""
        iterations: int = Field(3, ge=1)
        """Rounds."""


class Flat(Solver, name="flat"):
    """A solver without settings."""


class Pull(Loss, name="pull"):
    """A loss with a part of its own."""

    class Config(Loss.Config):
        temperature: float = Field(0.1, gt=0)
        """Divides the scores."""
        solver: Annotated[Solver.Config, Part("solver")] = {"name": "sharp"}  # type: ignore[assignment]
        """Makes the codes."""


class Push(Loss, name="push"):
    """A loss."""

    class Config(Loss.Config):
        margin: float = 1.0
        """How far."""


class Line(Head, name="line"):
    """A head."""

    class Config(Head.Config):
        width: Annotated[int, Field(gt=0)] | Literal["clusters"] = 8
        """Outputs."""
        hidden: tuple[Annotated[int, Field(gt=0)], ...] = ()
        """Layers."""


class Crop(Settings):
    """A nested table that is no component."""

    size: int = Field(gt=0)
    """Pixels."""
    scale: tuple[float, float] = (0.2, 1.0)
    """Shares of the area."""


class Tree(Learner, name="multiview"):
    """A learner that owns parts."""

    class Config(Learner.Config):
        heads: dict[str, Annotated[Head.Config, Part("head")]] = Field(default_factory=dict)
        """By name."""
        losses: list[Annotated[Loss.Config, Part("loss")]] = Field(min_length=1)
        """In order."""
        crops: list[Crop] = Field(default_factory=list)
        """Nested tables."""
        mode: str = "plain"
        """A text of the learner."""


class Other(Learner, name="other"):
    """A learner with other parts."""

    class Config(Learner.Config):
        rate: float = 0.5
        """A number."""


class Walk(Optimizer, name="walk"):
    """An optimizer."""

    class Config(Optimizer.Config):
        momentum: float = Field(0.9, ge=0, lt=1)
        """Keeps going."""


class Same(Schedule, name="constant"):
    """A schedule."""


class Drop(Schedule, name="drop"):
    """Another schedule."""

    class Config(Schedule.Config):
        at: float = Field(0.5, ge=0, le=1)
        """When."""


class Echo(Callback, name="echo"):
    """A callback beyond the usual ones."""


def toy_registry() -> Registry:
    """The components above, the usual callbacks and the usual metrics without settings."""
    known = Registry()
    for cls in (Folder, Made, Sharp, Flat, Pull, Push, Line, Tree, Other, Walk, Same, Drop, Echo):
        known.add(cls, "toys")
    for name in DEFAULT_CALLBACKS:
        known.add(type(name, (Callback,), {"__doc__": "Usual."}, name=name), "toys")
    for name in ("acc", "nmi", "ari", "knn"):
        known.add(type(name, (Metric,), {"__doc__": "Usual."}, name=name), "toys")
    return known


TOYS = toy_registry()

RECIPE = """\
name = "toy"
clusters = 3

[data]
name = "made"
count = 50

[heads.out]
name = "line"
width = "clusters"

[[losses]]
name = "pull"
temperature = 0.2
solver = { name = "sharp", epsilon = 0.1 }

[[losses]]
name = "push"

[optimizer]
name = "walk"
lr = 0.01
"""
