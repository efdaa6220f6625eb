"""Starting weights from a file or a run: reading them, and telling what a network can't take of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from imcswav.errors import ImcswavError, RunError, WeightsError

Normalization = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and std of images, a value a channel in [0, 1]."""
OURS = "learner."
"""With this begin the names of tensors in a model of ours."""
SHOWN = 3
"""How many names a report gives of each kind."""


def read_weights(path: Path, inside: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, of a torch checkpoint (timm's too), or of a run folder.

    Of a checkpoint that holds EMA weights too these are taken, as timm does. Of a model of ours only what begins with
    ``inside`` is taken, without it. Raises ImcswavError.
    """
    try:
        state = _read(path)
    except Exception as error:  # a torn file, a strange format, pickled objects: one sentence for all
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise ImcswavError(
            f"The weights {path} can't be read ({reason}); give a safetensors file, a torch state dict or a run folder."
        ) from error
    if any(name.startswith(OURS) for name in state):
        state = {name.removeprefix(inside): value for name, value in state.items() if name.startswith(inside)}
    return state


def weights_file(path: Path) -> Path:
    """The file itself, or that of a run folder's model; "~" is your home, and it may be missing."""
    path = Path(os.path.expanduser(path))
    if not path.is_dir():
        return path
    places = (path / "model" / "weights.safetensors", path / "weights.safetensors")
    return next((place for place in places if place.is_file()), places[0])


def trained_with(path: Path) -> Normalization | None:
    """Mean and std by which a model of ours normalises images, if these are the weights of one; else None.

    None, too, for weights that lie without their settings or can't be read. Raises WeightsError for a model that can't
    be restored.
    """
    from imcswav.model import IN_FILE, Model  # it imports the parts that read weights

    file = weights_file(path)
    if file.suffix != ".safetensors":
        return None
    try:
        with safe_open(file, "pt") as opened:
            exported = IN_FILE in (opened.metadata() or {})
            ours = any(name.startswith(OURS) for name in opened.keys())  # noqa: SIM118 (it is no mapping)
    except (OSError, SafetensorError):  # reading the weights will tell
        return None
    if not ours or not (exported or (file.parent / "config.json").is_file()):
        return None
    try:
        return Model.load(file if exported else file.parent, "cpu").learner.normalization()
    except RunError as error:
        raise WeightsError(
            f"Of the weights {path} the mean and std of their images can't be told: {str(error).rstrip('.')}; or give "
            f"learner.mean and learner.std."
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    path = weights_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    state = load_state_dict(str(path), weights_only=True)
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("it holds other things than tensors")
    return state


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file fit a network's: names that only one of them has, and shapes that differ."""

    missing: list[str]
    unknown: list[str]
    differing: list[str]
    renewed: tuple[str, ...] = ()
    """What is left as it was initialised, on purpose."""

    @classmethod
    def of(cls, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], ignored: Iterable[str] = ()) -> Fit:
        """Compare; names that begin with one of ``ignored`` may be there or not."""
        skip = tuple(ignored)

        def only(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
            return [
                n for n in one if n not in other and not n.startswith(skip) and not n.endswith("num_batches_tracked")
            ]

        differing = [
            f"{name} {tuple(given[name].shape)} instead of {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in given and given[name].shape != value.shape
        ]
        return cls(only(wanted, given), only(given, wanted), differing)

    @property
    def complete(self) -> bool:
        """Whether every tensor of the network is there in its shape."""
        return not (self.missing or self.differing)

    def __str__(self) -> str:
        facts = {"missing": self.missing, "of another shape": self.differing, "unknown to the model": self.unknown}
        return "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in facts.items() if names)


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
