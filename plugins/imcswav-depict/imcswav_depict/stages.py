"""Which stage a training is in, and what lasts over its epochs: in buffers, so that resuming changes nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from torch import Tensor

from imcswav.learners import TrainingState

HELD = 0.1
"""Share of the images that the patience of the pre-training is measured on, as in the authors' program."""


class Stages(TrainingState):
    """Pre-training until there are ``targets``, then clustering.

    ``targets`` (N, K) are what the predictions of each image should be, ``initial`` (N,) the clusters that the second
    stage began with, ``began`` its first epoch. ``held`` (N,) marks the images that the pre-training leaves out;
    ``best`` is the least error on them so far, ``waited`` the epochs since. Checkpoints have them,
    exported models don't.
    """

    targets: Tensor
    initial: Tensor
    held: Tensor
    began: Tensor
    best: Tensor
    waited: Tensor
    sized_by_state = ("targets", "initial", "held")

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("targets", torch.empty(0, 0))
        self.register_buffer("initial", torch.empty(0, dtype=torch.int64))
        self.register_buffer("held", torch.empty(0, dtype=torch.bool))
        self.register_buffer("began", torch.tensor(-1))
        self.register_buffer("best", torch.tensor(torch.inf))
        self.register_buffer("waited", torch.tensor(0))

    @property
    def clusters(self) -> bool:
        """Whether the second stage has begun; the device isn't asked."""
        return len(self.targets) > 0

    @property
    def holds(self) -> bool:
        """Whether images are left out of the pre-training; the device isn't asked."""
        return len(self.held) > 0

    def hold_out(self, images: int, seed: int) -> None:
        """Draw the images that are left out, at least one."""
        order_N = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
        held_N = torch.zeros(images, dtype=torch.bool)
        held_N[order_N[: max(1, round(HELD * images))]] = True
        self.held = held_N.to(self.began.device)

    def wait(self, error: Tensor) -> int:
        """Note the error on the held-out images; gives the epochs since it was least."""
        better = error < self.best
        self.best.copy_(torch.where(better, error, self.best))
        self.waited.copy_(torch.where(better, 0, self.waited + 1))
        return int(self.waited)

    def begin(self, epoch: int, labels_N: Tensor, clusters: int) -> None:
        """Start the second stage from clusters of all images, which are its first targets."""
        self.initial = labels_N.to(self.began.device)
        self.targets = F.one_hot(self.initial, clusters).float()
        self.began.fill_(epoch)


def nearest_mean(codes_NF: Tensor, members_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (K, F) and biases (K,) of a softmax that is that of −|z − c|² / s: it assigns to the nearest mean c.

    ``members`` is 1 where an image belongs to a cluster; s is the mean squared distance of a code to its own mean.
    """
    means_KF = members_NK.T @ codes_NF / members_NK.sum(0).clamp_min(1).unsqueeze(1)
    spread = (codes_NF - members_NK @ means_KF).square().sum(1).mean().clamp_min(1e-6)
    return 2 * means_KF / spread, -means_KF.square().sum(1) / spread
