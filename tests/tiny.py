"""Small things that several tests build."""

import numpy as np
import torch
from PIL import Image

import imcswav
from imcswav.data import Batch, DataFacts
from imcswav.data.array import ArrayData
from imcswav.learners.multiview import MultiView
from imcswav.step import Progress

FACTS = DataFacts(64, 3, 12, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3))
PROGRESS = Progress(0, 0, 10, 5)
SETTINGS = {
    "views": {
        "name": "multicrop",
        "crops": [{"count": 2, "size": 10, "scale": [0.4, 1.0]}, {"count": 4, "size": 6, "scale": [0.1, 0.4]}],
    },
    "backbone": {"name": "small_resnet", "stem": 4, "widths": [6, 8], "strides": [1, 2]},
    "heads": {
        "projection": {"name": "mlp", "hidden": [8], "width": 5},
        "prototypes": {"name": "prototypes", "input": "projection", "count": 7},
        "classifier": {"name": "mlp", "hidden": [6], "norm": "batch", "width": "clusters", "detach": True},
    },
    "losses": [{"name": "swav"}, {"name": "imc"}],
}


def settings(**changes):
    return MultiView.Config.model_validate(SETTINGS | changes)


def learner(**changes):
    """A multi-view learner of three clusters with repeatable weights."""
    torch.manual_seed(0)
    return settings(**changes).build(facts=FACTS, clusters=3)


def images(count=8, size=12, channels=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)


def batch(count=8):
    return Batch(images(count), torch.arange(count))


def blobs(count=40, size=8, seed=0):
    """Grey images (N, size, size) of two easy kinds, and which is which."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = random.integers(0, 80, (count, size, size))
    pixels[labels == 1, :, size // 2 :] += 150
    return pixels.astype(np.uint8), labels


def short(tiny, **trainer):
    """The tiny recipe for a few steps on ``blobs``."""
    tiny["clusters"] = 2
    tiny["trainer"] |= {"epochs": 2, "batch_size": 10, "log_every": 1} | trainer
    return tiny


def short_run(tiny, out, labelled=True, **changes):
    pixels, labels = blobs()
    data = ArrayData.of(pixels, labels=labels if labelled else None)
    return imcswav.run(short(tiny), changes, out=out, data=data)


def png_size(path):
    """Width and height of what has to be a whole PNG file."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        return image.size


TAUGHT = {
    "heads": SETTINGS["heads"] | {"predictor": {"name": "mlp", "input": "projection", "hidden": [6], "width": 5}},
    "losses": [
        {"name": "swav", "codes": "teacher.prototypes"},
        {"name": "imc"},
        {"name": "byol"},
        {"name": "wpmi", "targets": "teacher.classifier"},
    ],
    "teacher": {"momentum": 0.9},
}
"""A teacher of whom losses read prototypes, projection and a classifier with batch norm."""
