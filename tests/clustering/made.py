"""A clustering and photographs for tests."""

import numpy as np
from PIL import Image

from imcswav.clustering import Clustering


def clustering(images=40, clusters=4, features=8, seed=0, **changes):
    random = np.random.default_rng(seed)
    own = random.integers(0, clusters, images)
    centres = 4 * random.normal(size=(clusters, features))
    features_NF = (centres[own] + random.normal(size=(images, features))).astype(np.float32)
    probabilities_NK = random.dirichlet([0.3] * clusters, images).astype(np.float32)
    fields = {
        "names": [f"folder/image {i}.png" for i in range(images)],
        "features_NF": features_NF,
        "probabilities_NK": probabilities_NK,
        "ids": tuple(range(clusters)),
    }
    return Clustering(**fields | changes)


def photographs(folder, count=24, side=20, kinds=2):
    """Colour images of plainly different kinds in one folder, and the kind of each by its name."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for number in range(count):
        kind = number % kinds
        pixels = random.integers(0, 60, (side, side, 3))
        pixels[:, :, kind % 3] += 150
        name = f"photo {number:03d} ä.png"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
        found[name] = kind
    return found
