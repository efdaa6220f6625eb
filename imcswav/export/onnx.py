"""ONNX, for onnxruntime and whatever else reads it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imcswav.clusterers import Array
from imcswav.errors import ImcswavError
from imcswav.export.about import KEY
from imcswav.export.graph import INPUT, OUTPUTS, trace, untraceable
from imcswav.model import Model

SUFFIX = ".onnx"
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def write(model: Model, about: dict[str, Any], path: Path) -> None:
    """Write the file; raises ImcswavError when packages are missing, RunError for a network that has no such form."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        lacking = ", ".join(missing)
        raise ImcswavError(f"ONNX needs packages that aren't here ({lacking}); install: pip install 'imcswav[onnx]'")
    traced, images_NCSS = trace(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own insides
            program = torch.onnx.export(
                traced,
                (images_NCSS,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=OUTPUTS,
                dynamic_shapes=({0: "batch"},),
            )
        assert program is not None
        program.model.metadata_props[KEY] = json.dumps(about)
        content = program.model_proto.SerializeToString()
    except Exception as error:  # an operation ONNX hasn't got, more than 2 GB
        raise untraceable(error) from error
    path.write_bytes(content)


def reader(path: Path) -> Callable[[Tensor], tuple[Array, Array]]:
    """The file as a function, by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images_NCSS: Tensor) -> tuple[Array, Array]:
        features_NF, probabilities_NK = session.run(list(OUTPUTS), {INPUT: images_NCSS.numpy()})
        return features_NF, probabilities_NK

    return run
