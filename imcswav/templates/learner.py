"""An autoencoder: whole images to features and back; a clusterer makes the clusters from the features."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from imcswav.backbones import Backbone
from imcswav.data import Batch, DataFacts
from imcswav.learners import Embedding, Learner
from imcswav.part import Part
from imcswav.plugins import hookimpl
from imcswav.step import Progress


class Mine(Learner, name="mine"):
    """The least mean squared error of the pixels, in units of their range; no views, no augmentation."""

    class Config(Learner.Config):
        backbone: Annotated[Backbone.Config, Part("backbone")]
        """Images to features; in a recipe the table [backbone]."""
        hidden: int = Field(128, ge=1)
        """Width of the decoder's hidden layer."""

    config: Config

    def __init__(self, config: Any, *, facts: DataFacts, clusters: int) -> None:
        super().__init__(config, facts=facts, clusters=clusters)
        pixels = facts.channels * facts.size**2
        self.backbone: Backbone = config.backbone.build(channels=facts.channels, image_size=facts.size)
        self.decoder = nn.Sequential(
            nn.Linear(self.backbone.features, config.hidden), nn.ReLU(), nn.Linear(config.hidden, pixels)
        )

    def forward(self, batch: Batch, progress: Progress, seed: int | Tensor) -> dict[str, Tensor]:
        """One training step's scalars; ``loss`` is the one to minimise."""
        images_BCHW = _scaled(batch.images)
        drawn_BQ = self.decoder(self.backbone(images_BCHW))
        return {"loss": (drawn_BQ - images_BCHW.flatten(1)).square().mean()}

    def embed(self, images_NCHW: Tensor, views: int = 1) -> Embedding:
        """Features of whole images; the learner has no clusters of its own."""
        return Embedding(self.backbone(_scaled(images_NCHW)).float(), None)


def _scaled(images_NCHW: Tensor) -> Tensor:
    return images_NCHW.float() / 255


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
