"""Weights and settings in one safetensors file, for ``imcswav.load``; nothing in it is code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from imcswav.clusterers import Array
from imcswav.export.about import KEY
from imcswav.model import EDITS_IN_FILE, IN_FILE, Model

SUFFIX = ".safetensors"


def write(model: Model, about: dict[str, Any], path: Path) -> None:
    """Write what ``model/`` holds."""
    state, config = model.packed()
    edits = {} if model.edits is None else {EDITS_IN_FILE: model.edits.shared().text()}
    save_file(state, path, metadata={KEY: json.dumps(about), IN_FILE: json.dumps(config, default=str), **edits})


def reader(path: Path) -> Callable[[Tensor], tuple[Array, Array]]:
    """The file as a function, by ``imcswav.load`` on the CPU."""
    model = Model.load(path, "cpu")

    def run(images_NCSS: Tensor) -> tuple[Array, Array]:
        found = model.embed(images_NCSS)
        return found.features.numpy(), model.clustering(found).probabilities_NK

    return run
