"""Make the views of an image agree on its cluster."""

from __future__ import annotations

from torch import Tensor

from imcswav.heads import HeadName
from imcswav.losses import Loss
from imcswav.plugins import hookimpl
from imcswav.step import Step


class Mine(Loss, name="mine"):
    """Variance of the cluster probabilities over the views of an image, summed over clusters; 0 when all agree.

    Alone it is least when every image is in one cluster, so it needs a loss beside it that spreads them.
    """

    class Config(Loss.Config):
        logits: HeadName = "classifier"
        """Head whose output (V, B, K) is the clusters' logits."""

    config: Config

    def forward(self, step: Step) -> Tensor:
        """The mean over images."""
        chances_VBK = step[self.config.logits].softmax(-1)
        return chances_VBK.var(dim=0, correction=0).sum(-1).mean()


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
