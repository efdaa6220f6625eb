"""Accuracy on the queries of episodes, for every method on the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from imcswav.clusterers import Array
from imcswav_fewshot.bounds import costs
from imcswav_fewshot.clusterer import SLK, transduce
from imcswav_fewshot.episodes import Episodes
from imcswav_fewshot.prepare import centred_unit, shifted

BASELINE = "nearest prototype"
METHODS: dict[str, SLK.Config | None] = {
    BASELINE: None,
    "k-means": SLK.Config(laplacian=0, shift=True),
    "k-modes": SLK.Config(laplacian=0, shift=True, prototypes="mode"),
    "slk, means": SLK.Config(shift=True),
    "slk, modes": SLK.Config(shift=True, prototypes="mode"),
    "slk, means, support not clamped": SLK.Config(shift=True, clamp=False),
    "slk, means, not shifted": SLK.Config(),
}
"""By name; None is no clustering: each query alone, to the nearest mean of a class's support (Snell et al. 2017)."""


class Interval(NamedTuple):
    """A mean and half the width of its 95 % interval: 1.96 standard errors."""

    mean: float
    half: float


def interval(values_E: Tensor) -> Interval:
    """Over episodes; the half width of a single one is NaN."""
    return Interval(float(values_E.mean()), float(1.96 * values_E.std() / len(values_E) ** 0.5))


def accuracies(
    features_NF: Array,
    episodes: Episodes,
    methods: Mapping[str, SLK.Config | None] = METHODS,
    base_mean_F: Array | None = None,
) -> dict[str, Tensor]:
    """Share of each episode's queries that get their class, (E,) a method.

    Features are taken off the mean of the base classes, where there is one, and scaled to length 1; a method's own
    ``center`` and ``normalize`` aren't used.
    """
    x_NF = torch.as_tensor(features_NF, dtype=torch.float64)
    mean_F = None if base_mean_F is None else torch.as_tensor(base_mean_F, dtype=torch.float64)
    x_ENF = centred_unit(x_NF, mean_F)[episodes.rows_EN]
    right = {name: predict(x_ENF, episodes, config) == episodes.labels_EN for name, config in methods.items()}
    return {name: right_EN[:, episodes.support :].double().mean(1) for name, right_EN in right.items()}


def predict(x_ENF: Tensor, episodes: Episodes, config: SLK.Config | None) -> Tensor:
    """Labels (E, N) of prepared features by one method; what it knows are the labels of the support."""
    known_EN = episodes.known_EN
    if config is None:
        return costs(x_ENF, support_means(x_ENF, episodes), None).argmin(-1)
    x_ENF = shifted(x_ENF, known_EN) if config.shift else x_ENF
    return transduce(x_ENF, support_means(x_ENF, episodes), known_EN, config).labels_EN


def support_means(x_ENF: Tensor, episodes: Episodes) -> Tensor:
    """The mean of each class's support, (E, ways, F)."""
    return x_ENF[:, : episodes.support].view(len(x_ENF), episodes.ways, episodes.shots, -1).mean(2)
