"""A model as one file for use elsewhere: a graph that takes uint8 images, or the weights with their settings.

Preprocessing is part of the graph, except resizing: images come in the model's own size, for no exchange format has the
antialiased rounding to 8 bits of ours. ``imcswav.imaging.pixels.fit`` is what does it; the file's metadata say how.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor

from imcswav.clusterers import Array
from imcswav.errors import ImcswavError
from imcswav.export import onnx, safetensors, torch_export
from imcswav.export.about import describe
from imcswav.export.check import Check, compare, images_of
from imcswav.files import refuse_existing, write_atomically
from imcswav.model import Model
from imcswav.results.predict import writing

FormatName = Literal["onnx", "torch-export", "safetensors"]


class Format(Protocol):
    """What a module of a format has."""

    SUFFIX: str

    def write(self, model: Model, about: dict[str, Any], path: Path) -> None:
        """Write the file, with ``about`` among its metadata."""

    def reader(self, path: Path) -> Callable[[Tensor], tuple[Array, Array]]:
        """A function of the file alone: uint8 images (N, C, S, S) → features (N, F), probabilities (N, K)."""


FORMATS: dict[FormatName, Format] = {"onnx": onnx, "torch-export": torch_export, "safetensors": safetensors}


@dataclass(frozen=True)
class Exported:
    """The file, and how it compares with torch where that was asked for."""

    path: Path
    check: Check | None = None


def export_run(
    run: str | Path, format: FormatName = "onnx", out: str | Path | None = None, check: bool = False
) -> Exported:
    """Write the model of a run as one file, by default ``model.onnx``, ``model.pt2`` or ``model.safetensors``.

    ``run`` is whatever ``imcswav.load`` takes. "onnx" and "torch-export" hold a float32 graph: images uint8
    (N, C, S, S) of the model's size S → ``features`` (N, F), ``probabilities`` (N, K), for any N; the recipe's views
    and mirror images are averaged within. "safetensors" holds weights and settings, for ``imcswav.load``. All carry
    what a user has to know as JSON under the key "imcswav". ``check`` compares the file with torch on the CPU, on
    up to 2,000 images of the run.

    Raises RunError when there is no model, when it can't be traced, or when ``out`` exists; ImcswavError for a format
    that isn't known or lacks packages.
    """
    if format not in FORMATS:
        raise ImcswavError(f"There is no format '{format}'; give one of {', '.join(FORMATS)}.")
    chosen = FORMATS[format]
    path = Path(f"model{chosen.SUFFIX}") if out is None else Path(out)
    refuse_existing(path)
    model = Model.load(run, "cpu")
    about = describe(model)
    with writing(path):
        write_atomically(path, lambda temporary: chosen.write(model, about, temporary), new=True)
    if not check:
        return Exported(path)
    images, source = images_of(run, model)
    return Exported(path, compare(model, chosen.reader(path), images, source))
