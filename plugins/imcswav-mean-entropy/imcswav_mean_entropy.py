"""Push the mean assignment of a batch towards uniform."""

from torch import Tensor

from imcswav.distributed import batch_mean
from imcswav.heads import HeadName
from imcswav.losses import Loss
from imcswav.plugins import hookimpl
from imcswav.step import Step


class MeanEntropy(Loss, name="mean_entropy"):
    """Negative entropy of the batch-mean assignment, in nats; lower is more even."""

    class Config(Loss.Config):
        logits: HeadName = "classifier"
        """Head whose output is read."""

    config: Config

    def forward(self, step: Step) -> Tensor:
        """The mean over views and images, then its negative entropy."""
        mean_K = batch_mean(step[self.config.logits].softmax(-1).mean(dim=(0, 1))).clamp_min(1e-8)
        return (mean_K * mean_K.log()).sum()


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [MeanEntropy]
