"""Components of every kind that keep the contract, as small as they can be."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from imcswav.backbones import Backbone
from imcswav.callbacks import Callback
from imcswav.clusterers import Clusterer
from imcswav.data import Data, DataFacts, Split
from imcswav.heads import CopiedHeadName, Head, HeadName
from imcswav.learners import Embedding, Learner
from imcswav.losses import Loss
from imcswav.metrics import Metric
from imcswav.optimizers import Optimizer
from imcswav.schedules import Schedule
from imcswav.solvers import Solver
from imcswav.views import CropGroup, Views


class Mean(Loss, name="toy"):
    """A loss."""

    class Config(Loss.Config):
        logits: HeadName = "somewhere"
        """What is read."""

    def forward(self, step):
        return step[self.config.logits].square().mean()


class Copied(Loss, name="toy"):
    """A loss that takes copies."""

    class Config(Loss.Config):
        logits: CopiedHeadName = "somewhere"
        """What is read."""

    def forward(self, step):
        logits = step[self.config.logits]
        losses = logits.square().mean((0, 1, -1))
        return step.over_copies(self.config.logits, losses) if losses.ndim else losses


class Softmax(Solver, name="toy"):
    """A solver."""

    def forward(self, scores_GBP):
        return scores_GBP.to(torch.promote_types(scores_GBP.dtype, torch.float32)).softmax(-1)


class Line(Head, name="toy"):
    """A head."""

    class Config(Head.Config):
        def out_features(self, in_features, clusters):
            return 7

    def __init__(self, config, **known):
        super().__init__(config, **known)
        self.line = nn.Linear(known["in_features"], 7)

    def forward(self, x_MF):
        return self.line(x_MF)


class Flat(Backbone, name="toy"):
    """A backbone."""

    features = 4

    def __init__(self, config, *, channels, image_size):
        super().__init__(config)
        self.line = nn.Linear(channels * image_size**2, 4)

    def forward(self, images_MCHW):
        return self.line(images_MCHW.flatten(1))


class Down(Optimizer, name="toy"):
    """An optimizer."""

    def make(self, parameters):
        return torch.optim.SGD(parameters, lr=self.config.lr)


class Even(Schedule, name="toy"):
    """A schedule."""

    def shape(self, progress):
        return 1.0


class Purity(Metric, name="toy"):
    """A metric."""

    def __call__(self, scored):
        pairs = np.stack([scored.labels_N, scored.clusters_N])
        return max(np.unique(pairs, axis=1, return_counts=True)[1]) / 30


class Nearest(Clusterer, name="toy"):
    """A clusterer."""

    def fit(self, features_NF):
        self.state = {"centres": torch.as_tensor(features_NF[:: len(features_NF) // self.clusters].copy())}
        return self.predict_proba(features_NF).argmax(1)

    def predict_proba(self, features_NF):
        distance_NK = ((features_NF[:, None] - self.state["centres"].numpy()) ** 2).sum(-1)
        return np.eye(self.clusters)[distance_NK.argmin(1)]


class Noise(Views, name="toy"):
    """Views."""

    class Config(Views.Config):
        def groups(self):
            return [CropGroup(2, 32)]

    def __call__(self, images_BCHW, seed):
        generator = torch.Generator().manual_seed(seed)
        return [self.whole(images_BCHW) + torch.randn(2, *images_BCHW.shape, generator=generator)]

    def mild(self, images_NCHW, count):
        return [self.whole(images_NCHW)] * count


class Grey(Data, name="toy"):
    """Data."""

    class Config(Data.Config):
        def facts(self):
            return DataFacts(4, 1, 8)

    def __init__(self, config):
        super().__init__(config)
        self.train = Split(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), list("abcd"), torch.zeros(4).long())
        self.measure()


class Quiet(Callback, name="toy"):
    """A callback."""


class Tiny(Learner, name="toy"):
    """A learner."""

    def __init__(self, config, **known):
        super().__init__(config, **known)
        self.line = nn.Linear(3 * 32 * 32, 5)

    def forward(self, batch, progress, seed):
        return {"loss": self.line(batch.images.float().flatten(1) / 255).square().mean()}

    def embed(self, images_NCHW, views=1):
        rows = self.line(images_NCHW.float().flatten(1) / 255)
        return Embedding(rows, rows.softmax(1))


GOOD = [Mean, Copied, Softmax, Line, Flat, Down, Even, Purity, Nearest, Noise, Grey, Quiet, Tiny]
