"""A small recipe of colour images that the benchmark's loop can stand for."""

import numpy as np
import torch

from imcswav.bench.subject import Subject
from imcswav.data.array import ArrayData
from imcswav.recipe.files import load_recipe

CPU = torch.device("cpu")
COLOUR = {
    "views": {
        "name": "multicrop",
        "crops": [{"count": 2, "size": 10, "scale": [0.4, 1.0]}, {"count": 2, "size": 8, "scale": [0.2, 0.5]}],
    },
    "trainer": {"epochs": 3, "batch_size": 8, "device": "cpu", "threads": 1},
}


def pixels(count=24, size=12):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def recipe(tiny, **changes):
    return load_recipe(tiny | COLOUR, changes)


def data(**sizes):
    return ArrayData.of(pixels(**sizes))


def subject(tiny, **changes):
    return Subject(recipe(tiny, **changes), data(), CPU)
