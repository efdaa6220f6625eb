"""Arrays in files: one ``.npz``, one ``.npy``, or a folder of ``.npy`` files.

Images are (N, H, W), (N, H, W, C) or (N, C, H, W) of uint8, or floats in [0, 1]; labels are N whole numbers. In an
``.npz`` arrays go by their key, in a folder (and beside a single ``.npy``) by their file's name. The usual names are
found by themselves: x_train, train_images, images, x, data … with y_train, train_labels, labels, y, targets …; and
x_test, test_images … with y_test, test_labels …. An ``.npy`` is mapped, so ``limit`` reads no more than it takes.
"""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from imcswav.data import Data, DataFacts, Split, blind_subset
from imcswav.data._survey import spread
from imcswav.errors import DataError, Problem
from imcswav.imaging.pixels import Array, Resize, stack
from imcswav.imaging.read import empty_images, to_images
from imcswav.plugins import did_you_mean, hookimpl

USUAL: dict[str, Sequence[str]] = {
    "images": ("x_train", "X_train", "train_images", "train_x", "images", "x", "X", "data", "arr_0"),
    "labels": ("y_train", "train_labels", "train_y", "labels", "y", "Y", "targets", "arr_1"),
    "test": ("x_test", "X_test", "test_images", "test_x"),
    "test_labels": ("y_test", "test_labels", "test_y"),
}
"""Names that are looked for, by the setting they stand for, the first one found being taken."""
CHUNK = 1024
DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError)
"""What zipfile and NumPy raise for damaged files; a header of which one bit is wrong already gives many of them."""


class NumpyData(Data, name="numpy"):
    """Images, and where they are there labels and test images, from the arrays of a file or folder."""

    class Config(Data.Config):
        file: str = Field(min_length=1)
        """An .npz, an .npy, or a folder of .npy files; "~" is your home, relative to the working directory."""
        images: str | None = Field(None, min_length=1)
        """The array of training images; unset: found by its name."""
        labels: str | None = None
        """The array of their labels; unset: found by its name, if it is there; "": none."""
        test: str | None = None
        """The array of test images; unset: found by its name, if it is there; "": none."""
        test_labels: str | None = None
        """The array of their labels, as ``labels``."""
        size: int | None = Field(None, ge=8, le=1024)
        """Side in pixels; unset keeps the shorter side."""
        channels: int | None = Field(None, ge=1, le=64)
        """Channels; unset keeps those of the array, 1 and 3 are converted to each other."""
        resize: Resize = "crop"
        """How an image becomes square: cut to the largest centred square, padded with black, or stretched."""
        limit: int | None = Field(None, ge=2)
        """Train on this many images, drawn evenly and always the same ones."""

        def facts(self) -> DataFacts:
            """From the array's header; raises DataError when it isn't there or holds no images."""
            names = self.names()
            shape, kind = self.arrays().header(names["images"])
            one = self._shaped(np.broadcast_to(np.zeros(1, kind), (1, *shape[1:])) if len(shape) > 1 else np.empty(0))
            size = self.size or min(one.shape[2:])
            count = min(shape[0], self.limit or shape[0])
            tests = self.arrays().header(names["test"])[0][0] if "test" in names else 0
            return DataFacts(count, self.channels or one.shape[1], size, resize=self.resize, test_images=tests)

        def surveyed(self, sample: int) -> tuple[DataFacts, list[Problem]]:
            """``facts``, and whether labels fit their images, and some images of mapped arrays are such."""
            facts, names, arrays, problems = self.facts(), self.names(), self.arrays(), list[Problem]()
            for images, labels in (("images", "labels"), ("test", "test_labels")):
                if images not in names:
                    continue
                (count, *_), _ = arrays.header(names[images])
                try:
                    if labels in names:
                        self.check_labels(names[labels], *arrays.header(names[labels]), count)
                    if not arrays.packed:
                        self._shaped(arrays.read(names[images])[spread(count, sample)])
                except DataError as error:
                    problems.append(Problem("data.file", str(error)))
            return facts, problems

        def check_labels(self, name: str, shape: tuple[int, ...], kind: np.dtype[Any], count: int) -> None:
            """Raise DataError unless an array has a whole number for each image."""
            if shape not in ((count,), (count, 1)) or kind.kind not in "iu":
                raise DataError(
                    f"The labels '{name}' of '{self.file}' have to be {count} whole numbers, one an image; "
                    f"they have type {kind} and shape {shape}."
                )

        def resolved(self) -> Self:
            """With an absolute path."""
            return self.model_copy(update={"file": os.path.abspath(self.path())})

        def path(self) -> Path:
            """The file with "~" replaced."""
            return Path(os.path.expanduser(self.file))

        def arrays(self) -> Arrays:
            """All arrays of the file or folder; raises DataError when it isn't there."""
            return Arrays(self.path())

        def names(self) -> dict[str, str]:
            """The arrays of the settings images, labels, test and test_labels, without those that aren't there."""
            known, found = self.arrays().names, dict[str, str]()
            single = self.path().suffix == ".npy"  # whatever else lies beside it is only taken when asked for
            for setting, usual in USUAL.items():
                wanted = getattr(self, setting)
                if single and setting == "images":
                    wanted = self.path().stem
                if wanted and wanted not in known:
                    raise DataError(
                        f"data.{setting}: '{self.file}' has no array '{wanted}'. {did_you_mean(wanted, known)}"
                    )
                guess = wanted if wanted is not None or single else next((one for one in usual if one in known), None)
                if guess:
                    found[setting] = guess
            if "images" not in found:
                raise DataError(f"None of the arrays in '{self.file}' ({', '.join(known)}) is known; set data.images.")
            if len(set(found.values())) < len(found):
                raise DataError(f"An array of '{self.file}' is taken twice: {found}; set data.labels or data.test.")
            if "test" not in found:
                found.pop("test_labels", None)
            return found

        def _shaped(self, values: Array) -> Tensor:
            try:
                return stack(values, self.channels)
            except DataError as error:
                raise DataError(f"The images in '{self.file}' can't be used: {error}.") from error

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        names, arrays = self.config.names(), self.config.arrays()
        facts = self.config.facts()
        self.resize = self.config.resize
        self.train = self._split(arrays, names, "images", "labels", facts, self.config.limit)
        if len(self.train) < 2:
            raise DataError(f"There are {len(self.train)} training images in '{self.config.file}'; at least 2 must be.")
        self.test = self._split(arrays, names, "test", "test_labels", facts, None) if "test" in names else None
        self.measure()

    def _split(
        self, arrays: Arrays, names: Mapping[str, str], images: str, labels: str, facts: DataFacts, limit: int | None
    ) -> Split:
        values = arrays.read(names[images])
        chosen = np.array(blind_subset(len(values), limit), np.int64)
        if not len(chosen):
            raise DataError(f"The array '{names[images]}' of '{self.config.file}' is empty.")
        pixels_NCHW = empty_images(len(chosen), facts.channels, facts.size)
        for start in range(0, len(chosen), CHUNK):
            piece = values[chosen[start : start + CHUNK]]
            piece = piece[:, None] if piece.ndim == 3 else piece
            try:
                read = to_images(piece, size=facts.size, channels=facts.channels, resize=self.resize)
            except DataError as error:
                raise DataError(
                    f"The array '{names[images]}' of '{self.config.file}' can't be taken as images: {error.__cause__}."
                ) from error
            pixels_NCHW[start : start + len(piece)] = read
        truth = self._labels(arrays, names[labels], len(values))[chosen] if labels in names else None
        return Split(pixels_NCHW, [str(index) for index in chosen], truth)

    def _labels(self, arrays: Arrays, name: str, count: int) -> Tensor:
        values = arrays.read(name)
        self.config.check_labels(name, values.shape, values.dtype, count)
        return torch.from_numpy(values.reshape(count).astype(np.int64))


class Arrays:
    """The arrays of an .npz, a folder of .npy files or the folder a single .npy lies in, by name."""

    def __init__(self, path: Path) -> None:
        self.path, self.packed = path, path.suffix == ".npz"
        self._folder = path if path.is_dir() else path.parent
        try:
            if not path.is_dir():
                path.open("rb").close()
            if self.packed:
                with zipfile.ZipFile(path) as archive:
                    found = archive.namelist()
            else:
                found = [file.name for file in self._folder.iterdir()]
        except DAMAGE as error:
            raise self._bad(error) from error
        self.names = sorted(name.removesuffix(".npy") for name in found if name.endswith(".npy"))
        if not self.names:
            raise DataError(f"There are no arrays in '{path}'; set data.file to an .npz, an .npy or a folder of those.")

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of an array; nothing else is read of it."""
        if not self.packed:
            mapped = self.read(name)
            return mapped.shape, mapped.dtype
        first, second = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
        readers = {(1, 0): first, (2, 0): second, (3, 0): second}  # 3.0 differs in names of fields, which images lack
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
                version = np.lib.format.read_magic(file)
                if version not in readers:
                    major, minor = version
                    raise ValueError(f"'{name}' has version {major}.{minor} of the .npy format, not 1.0, 2.0 or 3.0")
                shape, _, kind = readers[version](file)
        except DAMAGE as error:
            raise self._bad(error) from error
        return shape, kind

    def read(self, name: str) -> Array:
        """An array: mapped when it is a file, whole when it is packed."""
        try:
            if not self.packed:
                mapped: Array = np.load(self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                return mapped
            with np.load(self.path, allow_pickle=False) as archive:
                whole: Array = archive[name]
                return whole
        except DAMAGE as error:
            raise self._bad(error) from error

    def _bad(self, error: Exception) -> DataError:
        said = error.args[0] if isinstance(error, tokenize.TokenError) else error  # its second is a place in the header
        reason = getattr(error, "strerror", None) or " ".join(str(said).split()).rstrip(".") or "it ends too early"
        return DataError(f"Arrays can't be read from '{self.path}' ({reason}); set data.file to a good .npz or .npy.")


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [NumpyData]
