"""torch's own graph format (``torch.export``), for Python and C++ without imcswav."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imcswav.clusterers import Array
from imcswav.export.about import KEY
from imcswav.export.graph import trace
from imcswav.model import Model

SUFFIX = ".pt2"


def write(model: Model, about: dict[str, Any], path: Path) -> None:
    """Write the file, ``about`` as its extra file "imcswav"; raises RunError for a network that can't be traced."""
    traced, _ = trace(model)
    with path.open("wb") as file:
        torch.export.save(traced, file, extra_files={KEY: json.dumps(about)})


def reader(path: Path) -> Callable[[Tensor], tuple[Array, Array]]:
    """The file as a function, by torch on the CPU."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.11 warns of its own buffers
        graph = torch.export.load(file).module()

    @torch.no_grad()
    def run(images_NCSS: Tensor) -> tuple[Array, Array]:
        features_NF, probabilities_NK = graph(images_NCSS)
        return features_NF.numpy(), probabilities_NK.numpy()

    return run
