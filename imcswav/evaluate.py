"""Evaluation: assignments and features of whole images, and their scores where ground truth exists.

Protocol: the last epoch's network, on the test split where there is one and it wasn't trained on, else on the training
images (imcswav/protocol.py says which these are). Labels are used to score and for nothing else: no choice of epoch,
model or setting depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from imcswav.batchnorm import evaluating, reestimate
from imcswav.clusterers import Array, Clusterer, unit_rows
from imcswav.data import Data, Split
from imcswav.distributed import alone
from imcswav.learners import Embedding
from imcswav.metrics import Metric, Scored
from imcswav.metrics.acc import accuracy
from imcswav.model import Model
from imcswav.recipe import Recipe
from imcswav.seeding import mix
from imcswav.threads import one_blas_thread

if TYPE_CHECKING:
    from imcswav.trainer import Trainer

BANK = {"bank_features_MF", "bank_labels_M"}
"""What of ``Scored`` comes from the training images."""
REESTIMATE = 3
"""Key of the random stream that orders images for batch-norm statistics."""
BASELINE_STARTS = 10
BASELINE_IMAGES = 10_000
"""k-means baselines are fitted on at most this many training images."""
BASELINE_VALUES = 2**28
"""And on no more than this many pixels (1 GiB)."""


@dataclass(frozen=True)
class Assigned:
    """A split's features (N, F), on the network's device, and cluster probabilities (N, K), None if nothing assigns."""

    split: Split
    features: Tensor
    probabilities: Array | None

    @property
    def clusters(self) -> Array:
        """The most probable cluster of each image, (N,)."""
        assert self.probabilities is not None
        clusters: Array = self.probabilities.argmax(1)
        return clusters

    @property
    def labels(self) -> Array | None:
        """Ground truth (N,), for scoring."""
        return None if self.split.labels is None else self.split.labels.cpu().numpy()


@dataclass(frozen=True)
class Assessment:
    """Training and test images assigned, and the figures of the scored split."""

    train: Assigned
    test: Assigned | None
    scores: dict[str, float]

    @property
    def scored(self) -> Assigned:
        """The split that is scored: test where there is one."""
        return self.test or self.train


@contextmanager
def evaluation_model(trainer: Trainer, bn_statistics: str | None = None) -> Iterator[Model]:
    """The trainer's network as it would predict, batch-norm statistics re-estimated; training state is put back.

    ``bn_statistics`` in place of the recipe's; "test" takes the images that are scored.
    """
    recipe, data, learner = trainer.recipe, trainer.data.readable(), trainer.learner
    model = Model(
        learner, facts=data.facts, clusters=recipe.clusters, views=recipe.predict.views,
        flip=recipe.predict.flip, precision=recipe.trainer.precision,
    )  # fmt: skip
    model.shared = True
    mode = bn_statistics or recipe.predict.bn_statistics
    source = data.test if mode == "test" and data.test is not None else data.train
    with evaluating(learner):
        with alone():  # every process the same, for the batches are to be no larger than with one
            reestimate(
                learner, source.images, model.embed_upright, mode=mode,
                batch_size=recipe.trainer.batch_size, seed=mix(recipe.seed, REESTIMATE),
            )  # fmt: skip
        yield model
    model.shared = False


def embed_splits(model: Model, data: Data) -> list[Embedding]:
    """Features of the training images and of the test images, where there are some; processes share the work."""
    data = data.readable()
    return [model.embed_kept(split.images) for split in (data.train, data.test) if split is not None]


def assess(
    model: Model, data: Data, recipe: Recipe, *, fit_clusterer: bool, embedded: list[Embedding] | None = None
) -> Assessment:
    """Assign every split, score one; ``fit_clusterer`` fits the recipe's clusterer on the training features first.

    ``embedded`` by ``embed_splits``, if that is done already.
    """
    data = data.readable()
    embedded = embed_splits(model, data) if embedded is None else embedded
    if fit_clusterer and recipe.clusterer is not None:
        model.clusterer = recipe.clusterer.build(clusters=recipe.clusters, seed=recipe.seed)
        model.clusterer.fit(embedded[0].features.cpu().numpy())
    train = _assign(model, data.train, embedded[0])
    test = None if data.test is None else _assign(model, data.test, embedded[1])
    return Assessment(train, test, score(train, test or train, recipe))


def scores(model: Model, data: Data, recipe: Recipe) -> dict[str, float]:
    """The scores alone, as during training: other than in ``assess`` images that no metric asks for aren't embedded."""
    data = data.readable()
    test = None if data.test is None else _assign(model, data.test, model.embed(data.test.images))
    reads = {name for settings in recipe.evaluation.metrics for name in cast(type[Metric], settings.owner).reads}
    bank = data.train if test is None else with_labels(data.train)
    train = _assign(model, bank, model.embed(bank.images)) if test is None or reads & BANK else None
    scored = test or train
    assert scored is not None
    return score(train, scored, recipe)


def with_labels(split: Split) -> Split:
    """The images whose label is known, of which alone a metric can make something; all where none is."""
    if split.labels is None or (split.labels >= 0).all() or not (split.labels >= 0).any():
        return split
    rows = (split.labels >= 0).nonzero().flatten().cpu()
    images = split.images[rows.to(split.images.device)]
    return Split(images, [split.names[row] for row in rows.tolist()], split.labels.cpu()[rows])


def _assign(model: Model, split: Split, embedding: Embedding) -> Assigned:
    known = model.clusterer is not None or embedding.probabilities is not None
    return Assigned(split, embedding.features, model.assign(embedding) if known else None)


def score(train: Assigned | None, scored: Assigned, recipe: Recipe) -> dict[str, float]:
    """Every metric of the recipe that can be had; empty without labels of the scored images."""
    labels_N, known_N = known_labels(scored)
    if labels_N is None:
        return {}
    bank_labels_M, known_M = (None, None) if train is None else known_labels(train)
    facts = Scored(
        labels_N=labels_N,
        clusters_N=None if scored.probabilities is None else scored.clusters[known_N],
        features_NF=_rows(scored.features, known_N),
        bank_features_MF=None if train is None or known_M is None else _rows(train.features, known_M),
        bank_labels_M=bank_labels_M,
        same=scored is train,
    )
    metrics: list[Metric] = [settings.build() for settings in recipe.evaluation.metrics]
    known = [metric for metric in metrics if all(getattr(facts, name) is not None for name in metric.reads)]
    return {metric.name: float(metric(facts)) for metric in known}


def known_labels(assigned: Assigned) -> tuple[Array | None, Array]:
    """The labels that are known and whose they are; None and every image where none is."""
    labels = assigned.labels
    if labels is None or not (labels >= 0).any():
        return None, np.arange(len(assigned.split))
    return labels[labels >= 0], np.flatnonzero(labels >= 0)


def _rows(features: Tensor, rows: Array) -> Tensor:
    """Some of the rows; all of them without a copy."""
    return features if len(rows) == len(features) else features[torch.from_numpy(rows).to(features.device)]


def published_accuracy(trainer: Trainer, clusterer: Clusterer | None) -> float | None:
    """ACC with batch-norm statistics of the test images, as the released IMC-SwAV program scores.

    None where there is no labelled test split, or nothing was trained.
    """
    test = trainer.data.readable().test
    if test is None or test.labels is None or not (test.labels >= 0).any() or not trainer.epochs:
        return None
    with evaluation_model(trainer, bn_statistics="test") as model:
        model.clusterer = clusterer
        embedding = model.embed(test.images)
        if clusterer is None and embedding.probabilities is None:
            return None
        assigned = _assign(model, test, embedding)
        labels_N, known_N = known_labels(assigned)
        assert labels_N is not None
        return accuracy(labels_N, assigned.clusters[known_N])


@one_blas_thread()
def baselines(assessment: Assessment, recipe: Recipe) -> dict[str, float]:
    """ACC of k-means on the raw pixels and on the unit-length features: what a method has to beat."""
    train, scored = assessment.train, assessment.scored
    labels_N, known_N = known_labels(scored)
    if labels_N is None or len(train.split) < recipe.clusters:  # so few when many files could not be read
        return {}
    from sklearn.cluster import KMeans  # a second to import, and not needed during training

    figures = {}
    for name, rows in {"kmeans_acc": _pixels, "features_kmeans_acc": _features}.items():
        width = rows(train, np.arange(1)).shape[1]
        most = max(recipe.clusters, min(BASELINE_IMAGES, BASELINE_VALUES // width))
        subset = np.random.default_rng(recipe.seed).permutation(len(train.split))[:most]
        estimator = KMeans(recipe.clusters, n_init=BASELINE_STARTS, random_state=recipe.seed % 2**32).fit(
            rows(train, subset)
        )
        places = np.arange(len(scored.split))
        chunks = np.array_split(places, math.ceil(len(places) / most))  # as floats, all pixels may not fit
        clusters_N = np.concatenate([estimator.predict(rows(scored, chunk)) for chunk in chunks])
        figures[name] = accuracy(labels_N, clusters_N[known_N])
    return figures


def _pixels(assigned: Assigned, index: Array) -> Array:
    images = assigned.split.images
    return images[torch.from_numpy(index).to(images.device)].cpu().flatten(1).numpy().astype(np.float32) / 255


def _features(assigned: Assigned, index: Array) -> Array:
    features = assigned.features
    return unit_rows(features[torch.from_numpy(index).to(features.device)].cpu().numpy())
