"""An exported file beside torch, on the run's own images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imcswav.clusterers import Array
from imcswav.data import blind_subset
from imcswav.errors import ImcswavError
from imcswav.model import BATCH, Model
from imcswav.protocol import split_name, training_data
from imcswav.runs import RunFolder

MOST = 2000
RANDOM = 200
"""Random images, where the run's own can't be read."""


@dataclass(frozen=True)
class Check:
    """How a file compares with torch."""

    images: int
    source: str
    """Where the images are from."""
    differing: int
    """Images whose most probable cluster is another one."""
    probabilities: float
    """Largest absolute difference of a probability."""
    features: float
    """Largest absolute difference of a feature."""

    @property
    def passed(self) -> bool:
        """Whether every prediction is the same."""
        return self.differing == 0

    def __str__(self) -> str:
        outcome = "all predictions agree" if self.passed else f"{self.differing:,} predictions differ"
        return (
            f"Checked against torch on {self.images:,} {self.source}: {outcome}; probabilities differ by at most "
            f"{self.probabilities:.1e}, features by {self.features:.1e}."
        )


def images_of(run: str | Path, model: Model) -> tuple[Tensor, str]:
    """Up to 2,000 images (N, C, S, S) of the test split, of the training split where it is alone, or random ones."""
    try:
        recipe = RunFolder.open(run).recipe()
        data = training_data(recipe).readable()
    except (ImcswavError, OSError) as error:
        shape = (RANDOM, model.facts.channels, model.facts.size, model.facts.size)
        images_NCSS = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        return images_NCSS, f"random images (the run's own can't be read: {str(error).rstrip('.')})"
    name, split = ("train", data.train) if data.test is None else ("test", data.test)
    rows = blind_subset(len(split), MOST)
    return split.images[torch.tensor(rows)].cpu(), f"images of the {split_name(split, name)} split"


def compare(model: Model, run: Callable[[Tensor], tuple[Array, Array]], images_NCSS: Tensor, source: str) -> Check:
    """Run both on all images, the file in batches with a smaller last one; ``model`` is on the CPU, so in float32."""
    parts = [run(batch) for batch in images_NCSS.split(BATCH - 1)]
    features_NF, probabilities_NK = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = model.embed(images_NCSS)
    expected_NK = model.clustering(found).probabilities_NK
    return Check(
        images=len(images_NCSS),
        source=source,
        differing=int((probabilities_NK.argmax(1) != expected_NK.argmax(1)).sum()),
        probabilities=float(np.abs(probabilities_NK - expected_NK).max()),
        features=float(np.abs(features_NF - found.features.numpy()).max()),
    )
