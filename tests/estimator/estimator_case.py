"""A recipe that trains in a fraction of a second, and images for it."""

import copy

import numpy as np
from conftest import TINY
from sklearn.datasets import load_digits

import imcswav

RECIPE = {key: value for key, value in copy.deepcopy(TINY).items() if key not in ("data", "evaluation")} | {
    "views": {"name": "multicrop", "crops": [{"count": 2, "size": 8, "scale": [0.5, 1.0]}], "flip": 0.0},
    "heads": {**TINY["heads"], "prototypes": {"name": "prototypes", "input": "projection", "count": 12}},
    "trainer": {"epochs": 1, "batch_size": 32, "threads": 1},
}
DIGITS = load_digits().images[:200]
"""Floats (200, 8, 8) from 0 to 16."""
PIXELS = np.rint(DIGITS * (255 / 16)).astype(np.uint8)
"""The same as imcswav's own images are."""


def estimator(**parameters):
    usual = {"n_clusters": 3, "recipe": RECIPE, "device": "cpu", "random_state": 0}
    return imcswav.ImageClustering(**usual | parameters)
