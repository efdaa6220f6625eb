"""A network that is not trained: its features go to a clusterer."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from imcswav.backbones import Backbone
from imcswav.data import DataFacts
from imcswav.errors import Problem
from imcswav.learners import Embedding, Learner, RecipeFacts
from imcswav.part import Part
from imcswav.plugins import hookimpl


class Frozen(Learner, name="frozen"):
    """Features of whole images by a backbone as it is, pretrained or of a finished run (``[init]``).

    Needs ``trainer.epochs = 0`` and a clusterer. Images are normalised with ``mean`` and ``std``, where they are unset
    with those of the run or of the images that the backbone was pretrained on, else with the data's own.
    """

    class Config(Learner.Config):
        backbone: Annotated[Backbone.Config, Part("backbone")]
        """Images to features."""
        mean: tuple[float, ...] | None = None
        """A value a channel, in [0, 1]."""
        std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] | None = None
        """Of a channel each, in [0, 1]."""

        def check_recipe(self, facts: RecipeFacts) -> list[Problem]:
            """That nothing is to be trained, that something will cluster, and that sizes fit."""
            problems = []
            if facts.epochs:
                message = "the learner 'frozen' has nothing to train."
                problems.append(Problem("trainer.epochs", message, "Set it to 0.", facts.epochs))
            if not facts.clusterer:
                message = "the learner 'frozen' has no clusters of its own."
                problems.append(Problem("clusterer", message, "Add a table [clusterer], such as multi_head or kmeans."))
            if facts.data is not None:
                problems += [
                    dataclasses.replace(problem, path=f"backbone.{problem.path}")
                    for problem in self.backbone.check_sizes([facts.data.size], facts.data.channels)
                ]
                problems += self._check_lengths(facts.data.channels)
            return problems

        def _check_lengths(self, channels: int) -> list[Problem]:
            given = {name: values for name in ("mean", "std") if (values := getattr(self, name)) is not None}
            return [
                Problem(f"learner.{name}", f"{len(values)} values for {channels} channels.", "Give one for each.")
                for name, values in given.items()
                if len(values) != channels
            ]

    config: Config
    trains: ClassVar[bool] = False
    assigns_by_views: ClassVar[bool] = False

    def __init__(self, config: Config, *, facts: DataFacts, clusters: int) -> None:
        super().__init__(config, facts=facts, clusters=clusters)
        self.backbone: Backbone = config.backbone.build(channels=facts.channels, image_size=facts.size)
        known = None if config.mean and config.std else config.backbone.normalization(facts.channels)
        mean, std = known or (facts.mean, facts.std)
        # buffers: a saved model is loaded without the weights that knew them
        self.register_buffer("mean", torch.tensor(config.mean or mean))
        self.register_buffer("std", torch.tensor(config.std or std))

    def embed(self, images_NCHW: Tensor, views: int = 1) -> Embedding:
        """Features of whole images; ``views`` changes nothing."""
        mean, std = (self.get_buffer(name).view(1, -1, 1, 1) for name in ("mean", "std"))
        return Embedding(self.backbone(images_NCHW.float().div_(255).sub_(mean).div_(std)).float(), None)

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The backbone's own where it has some."""
        return tuple(self.get_buffer("mean").tolist()), tuple(self.get_buffer("std").tolist())

    def take_normalization(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Those of the two that are unset."""
        for name, values in ("mean", mean), ("std", std):
            if getattr(self.config, name) is None:
                self.get_buffer(name).copy_(torch.tensor(values))

    def lasting(self) -> str:
        """Of the weights, mean and std, the backbone's settings and the size of images."""
        settings = self.config.backbone.restored().model_dump_json()
        found = hashlib.sha256(f"{type(self.backbone).name} {settings} {self.facts.size}".encode())
        for name, value in sorted(self.state_dict().items()):
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return found.hexdigest()


@hookimpl
def imcswav_components() -> list[type]:
    """The learner of this file."""
    return [Frozen]
