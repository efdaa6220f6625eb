"""Probes: how well classes can be read off the features of a finished run, which learnt without them.

Labels are in the probe alone: it learns from those of the training images and is scored on those of the test images.
Nothing is chosen by the figure, neither epoch nor setting, so the network stays what it was without labels. A figure
of a probe isn't one of clustering.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from imcswav.clusterers import Array
from imcswav.data import Data
from imcswav.errors import DataError
from imcswav.evaluate import Assigned, known_labels, with_labels
from imcswav.metrics import Scored
from imcswav.metrics.knn import NearestNeighbours
from imcswav.model import Model
from imcswav.protocol import split_name
from imcswav.recipe import Recipe
from imcswav.threads import one_blas_thread

Kind = Literal["linear", "knn"]
C = 1.0
"""Inverse strength of the linear probe's L2 penalty, scikit-learn's default; the intercepts have none."""
ITERATIONS = 1000
"""Most iterations of L-BFGS."""
FOLDS = 5
"""Of the linear probe's cross-validation, where the data have one split."""


@dataclass(frozen=True)
class Probed:
    """What a probe found."""

    probe: str
    """"linear" or "knn"."""
    accuracy: float
    """Share of the scored images whose class was named, in [0, 1]."""
    protocol: str
    """What the probe learnt from and what it was scored on."""
    learnt_from: int
    """Labelled images that the probe may learn from; of one split, all of them."""
    scored_on: int
    """Labelled images that were scored."""
    classes: int
    """Different labels among those that the probe may learn from."""
    settings: dict[str, Any]
    """Of the probe."""
    converged: bool = True
    """False where the linear probe's solver ended at its most iterations."""


@dataclass(frozen=True)
class Labelled:
    """Features float32 (N, F), on the network's device, and labels (N,) of the images whose label is known."""

    features: torch.Tensor
    labels: Array


def probe_model(model: Model, data: Data, recipe: Recipe, kind: Kind) -> Probed:
    """Probe a model on its data: fitted on the training images, scored on the test images.

    Without a test split the one split serves as both, no image having a say about itself: the linear probe is
    cross-validated in five folds, neighbours leave the image out. Raises DataError without labels.
    """
    data = data.readable()
    train = _labelled(model, data, "train")
    test = None if data.test is None else _labelled(model, data, "test")
    classes = len(np.unique(train.labels))
    if classes < 2:
        raise DataError("All labelled training images are of one class, so there is nothing to tell apart.")
    accuracy, settings, how, converged = (_linear if kind == "linear" else _neighbours)(train, test, recipe)
    name = split_name(data.train, "train")
    protocol = f"{how} on {name}" if test is None else f"labels of {name}, scored on test"
    scored = train if test is None else test
    return Probed(kind, accuracy, protocol, len(train.labels), len(scored.labels), classes, settings, converged)


def linear(bank_MF: Array, labels_M: Array, rows_NF: Array) -> tuple[Array, bool]:
    """Classes (N,) by multinomial logistic regression, and whether it converged.

    scikit-learn's, by L-BFGS in float64, on features that are brought to mean 0 and variance 1 by the statistics of
    the bank. It draws nothing at random.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(bank_MF.astype(np.float64))
    estimator = LogisticRegression(C=C, max_iter=ITERATIONS)
    with warnings.catch_warnings(), one_blas_thread(bank_MF.size):
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in what is returned
        estimator.fit(scaler.transform(bank_MF.astype(np.float64)), labels_M)
    classes_N = estimator.predict(scaler.transform(rows_NF.astype(np.float64)))
    return np.asarray(classes_N), bool(estimator.n_iter_.max() < ITERATIONS)


Found = tuple[float, dict[str, Any], str, bool]
"""Accuracy, settings, what stands in for a test split, whether it converged."""


def _linear(train: Labelled, test: Labelled | None, recipe: Recipe) -> Found:
    right, done = list[Array](), list[bool]()
    for bank_MF, labels_M, rows_NF, labels_N in _parts(train, test):
        classes_N, converged = linear(bank_MF, labels_M, rows_NF)
        right.append(classes_N == labels_N)
        done.append(converged)
    settings = {"C": C, "max_iterations": ITERATIONS, "features": "standardised"}
    return float(np.concatenate(right).mean()), settings, f"cross-validated in {FOLDS} folds", all(done)


def _parts(train: Labelled, test: Labelled | None) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Features and labels to learn from, then those to score: once, or once a fold."""
    rows_NF = train.features.cpu().numpy()
    if test is not None:
        yield rows_NF, train.labels, test.features.cpu().numpy(), test.labels
        return
    from sklearn.model_selection import StratifiedKFold

    if np.unique(train.labels, return_counts=True)[1].min() < FOLDS:
        raise DataError(
            f"There is no test split, and a class has fewer than {FOLDS} images, so that {FOLDS} folds can't all have "
            "it: give the data a test split, or take --probe knn."
        )
    for learnt, scored in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(rows_NF, train.labels):
        yield rows_NF[learnt], train.labels[learnt], rows_NF[scored], train.labels[scored]


def _neighbours(train: Labelled, test: Labelled | None, recipe: Recipe) -> Found:
    settings = [found for found in recipe.evaluation.metrics if isinstance(found, NearestNeighbours.Config)]
    metric = (settings[0] if settings else NearestNeighbours.Config()).build()
    scored = train if test is None else test
    facts = Scored(scored.labels, None, scored.features, train.features, train.labels, same=test is None)
    return float(metric(facts)), {"k": metric.config.k, "similarity": "cosine"}, "each image by all others", True


def _labelled(model: Model, data: Data, name: Literal["train", "test"]) -> Labelled:
    split = data.train if name == "train" else data.test
    assert split is not None
    split = with_labels(split)
    features = Assigned(split, model.embed_kept(split.images).features.float(), None)
    labels_N, _ = known_labels(features)
    if labels_N is None:
        raise DataError(f"No image of the {name} split has a label; a probe learns from labels and is scored by them.")
    if not features.features.isfinite().all():
        raise DataError(f"Features of the {name} split are not all finite numbers, so nothing can be learnt from them.")
    return Labelled(features.features, labels_N)
