"""Data sets in the format of the package ``datasets``: a folder of ``save_to_disk``, Parquet files, or a hub name.

Needs ``pip install "imcswav[huggingface]"``. The column with images is the one of that type, ground truth the first
column of class labels (else "label", "labels" or "fine_label" with whole numbers); −1 is an unknown label. Of a hub
name nothing is fetched before the data set is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field
from torch import Tensor

from imcswav.data import Data, DataFacts, Split, blind_subset
from imcswav.data._files import SIZE_SAMPLE, common_side
from imcswav.data._survey import Sample, spread
from imcswav.errors import DataError, Problem
from imcswav.imaging.pixels import Resize
from imcswav.imaging.read import empty_images, shorter_side, try_decode
from imcswav.plugins import did_you_mean, hookimpl

TESTS = ("test", "validation", "valid", "val")
LABELS = ("label", "labels", "fine_label")
CHUNK = 256
HUB_SECONDS = 10.0
NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")


class HuggingFace(Data, name="huggingface"):
    """Decoded by the same rules as files; an image's name is its split and number, ``skipped`` has the unreadable."""

    class Config(Data.Config):
        path: str = Field(min_length=1)
        """A folder that save_to_disk made or that holds Parquet files, one Parquet file, or a name on the hub."""
        subset: str | None = None
        """The configuration, of a data set that has several."""
        train: str = "train"
        """The split to train on."""
        test: str | None = None
        """The split to score; unset: test, else validation, if there is one; "": none."""
        image: str | None = None
        """The column of images; unset: the only one of that type."""
        label: str | None = None
        """The column of ground truth; unset: found as above, if there is one; "": none."""
        size: int | None = Field(None, ge=8, le=1024)
        """Side in pixels; unset: the smallest shorter side in a sample, at most 64. A name on the hub needs it."""
        channels: int = Field(3, ge=1, le=3)
        """3 (colour) or 1 (grey)."""
        resize: Resize = "crop"
        """How an image becomes square: cut to the largest centred square, padded with black, or stretched."""
        limit: int | None = Field(None, ge=2)
        """Train on this many images, drawn evenly and always the same ones."""

        def facts(self) -> DataFacts:
            """Without a look at the images; of a hub name only what is set. Raises DataError as ``splits``."""
            _package()
            if not self.local():
                if self.size is None:
                    raise DataError(f"Set data.size: before '{self.path}' is fetched nobody knows its images' size.")
                return DataFacts(None, self.channels, self.size, resize=self.resize)
            train, test = self.splits()
            count = min(len(train), self.limit or len(train))
            tests = 0 if test is None else len(test)
            return DataFacts(count, self.channels, self.side(train), resize=self.resize, test_images=tests)

        def surveyed(self, sample: int) -> tuple[DataFacts, list[Problem]]:
            """``facts``, and what decoding some images of a local copy gives to complain of."""
            facts, problems = self.facts(), list[Problem]()
            if not self.local():
                return facts, problems
            for split, least in zip(self.splits(), (2, 1), strict=True):
                if split is not None:
                    column = self.image_column(split)
                    named = ((f"row {row}", _source(split[row][column])) for row in spread(len(split), sample))
                    looked = Sample.of(
                        len(split), named, side=facts.size, channels=self.channels, resize=self.resize
                    )  # fmt: skip
                    problems += looked.problems("data.path", least, "The run lists them in skipped.csv.")
            return facts, problems

        def resolved(self) -> Self:
            """With an absolute path, where it is one."""
            return self.model_copy(update={"path": os.path.abspath(self.place())}) if self.local() else self

        def local(self) -> bool:
            """Whether it is a path and no name on the hub."""
            return os.path.exists(self.place()) or not NAME.fullmatch(self.path)

        def place(self) -> Path:
            """The path with "~" replaced."""
            return Path(os.path.expanduser(self.path))

        def side(self, train: Any) -> int:
            """``size``, or what a sample of the images' headers suggests."""
            if self.size is not None:
                return self.size
            step = max(1, len(train) // SIZE_SAMPLE)
            column = self.image_column(train)
            sources = [_source(train[row][column]) for row in range(0, len(train), step)]
            return common_side([side for source in sources if source and (side := shorter_side(source)) is not None])

        def splits(self) -> tuple[Any, Any]:
            """The training and the test split (None: there is none), images undecoded.

            Raises DataError when the data set, a split or its images aren't there.
            """
            found = _load(self)
            for wanted in filter(None, (self.train, self.test)):
                if wanted not in found:
                    raise DataError(f"'{self.path}' has no split '{wanted}'. {did_you_mean(wanted, list(found))}")
            test = next((name for name in TESTS if name in found and name != self.train), "")
            test = test if self.test is None else self.test
            return self._undecoded(found[self.train]), self._undecoded(found[test]) if test else None

        def image_column(self, split: Any) -> str:
            """The column of images."""
            image = _package().Image
            found = [name for name, kind in split.features.items() if isinstance(kind, image) or _stored(kind)]
            if (self.image or (found[0] if len(found) == 1 else "")) not in found:
                raise DataError(
                    f"'{self.path}' has the image columns {found or 'none'}; set data.image to one of them."
                )
            return self.image or found[0]

        def label_column(self, split: Any) -> str:
            """The column of ground truth; "" when there is none."""
            kinds = split.features
            if self.label:
                if self.label not in kinds:
                    raise DataError(
                        f"'{self.path}' has no column '{self.label}'. {did_you_mean(self.label, list(kinds))}"
                    )
                return self.label
            classes = [name for name, kind in kinds.items() if isinstance(kind, _package().ClassLabel)]
            whole = [name for name in LABELS if str(getattr(kinds.get(name), "dtype", "")).startswith(("int", "uint"))]
            return next(iter([*classes, *whole]), "") if self.label is None else ""

        def _undecoded(self, split: Any) -> Any:
            return split.cast_column(self.image_column(split), _package().Image(decode=False))

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        train, test = self.config.splits()
        self.resize, self._side = self.config.resize, self.config.side(train)
        chosen = blind_subset(len(train), self.config.limit)
        label = self.config.label_column(train)
        self.class_names = tuple(getattr(train.features.get(label), "names", None) or ())
        self.train = self._read(train.select(chosen), self.config.train, chosen, least=2)
        if test is not None:
            self.test = self._read(test, str(test.split or "test"), range(len(test)), least=1)
        self.measure()

    def _read(self, source: Any, name: str, numbers: Any, least: int) -> Split:
        column, label = self.config.image_column(source), self.config.label_column(source)
        size, channels = self._side, self.config.channels
        images_NCHW = empty_images(len(source), channels, size)

        def read(row: int, cell: Any) -> str:
            content = _source(cell)
            if content is None:
                return "the cell is empty"
            image = try_decode(content, size=size, channels=channels, resize=self.resize)
            if isinstance(image, str):
                return image
            images_NCHW[row] = image
            return ""

        with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
            reasons = [reason for rows, cells in _cells(source, column) for reason in pool.map(read, rows, cells)]
        kept = [row for row, reason in enumerate(reasons) if not reason]
        names = [f"{name}/{number}" for number in numbers]
        self.skipped = [*self.skipped, *((names[row], reason) for row, reason in enumerate(reasons) if reason)]
        if len(kept) < least:
            example = f" ({self.skipped[0][0]}: {self.skipped[0][1]})" if self.skipped else ""
            raise DataError(
                f"Only {len(kept)} of {len(source)} images in the split '{name}' of '{self.config.path}' can be read"
                f"{example}; at least {least} must be."
            )
        labels = self._labels(source[label])[kept] if label else None
        return Split(
            images_NCHW[kept] if len(kept) < len(source) else images_NCHW, [names[row] for row in kept], labels
        )

    def _labels(self, column: Any) -> Tensor:
        values = [-1 if value is None else value for value in column]
        if not all(isinstance(value, int) for value in values):
            raise DataError(f"data.label: a column of whole numbers is needed, and '{values[0]}' is none.")
        return torch.tensor(values, dtype=torch.int64)


def _package() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f'The data set "huggingface" needs the package datasets ({error}); '
            f'install it: pip install "imcswav[huggingface]".'
        ) from error
    return datasets


def _load(config: HuggingFace.Config) -> Mapping[str, Any]:
    """Splits by name, from disk or the hub; raises DataError for whatever keeps the package from it."""
    package, place = _package(), config.place()
    if config.local() and not place.exists():
        raise DataError(
            f"'{config.path}' does not exist and is no name on the hub; set data.path to an existing folder."
        )
    if not config.local():
        _reach(config.path)
    try:
        if place.is_dir() and any((place / name).is_file() for name in ("dataset_dict.json", "state.json")):
            found = package.load_from_disk(str(place))
        elif place.is_file():
            found = package.load_dataset("parquet", data_files=str(place))
        else:
            found = package.load_dataset(str(place) if place.is_dir() else config.path, config.subset)
    except Exception as error:  # each format, and the hub, has errors of its own
        raise DataError(f"'{config.path}' can't be loaded ({_said(error)}); set data.path to a good copy.") from error
    return found if isinstance(found, dict) else {config.train: found}


def _reach(name: str) -> None:
    """Raise DataError when the hub can't be reached: fetching would try again for half a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:  # a copy in the package's own cache is wanted
        return
    try:
        HfApi().dataset_info(name, timeout=HUB_SECONDS)
    except Exception as error:  # no network, no such data set, no permission
        raise DataError(
            f"'{name}' is no folder here and can't be had from the hub ({_said(error)}); give the path of a copy, or "
            f"set HF_HUB_OFFLINE=1 to use one that was fetched before."
        ) from error


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:200].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _stored(kind: Any) -> bool:
    """Whether a column of a Parquet file without metadata holds images as this package stores them."""
    return isinstance(kind, Mapping) and set(kind) == {"bytes", "path"}


def _source(cell: Any) -> bytes | Path | None:
    """The file's content, or where it is."""
    if not cell or not (cell.get("bytes") or cell.get("path")):
        return None
    return bytes(cell["bytes"]) if cell.get("bytes") else Path(cell["path"])


def _cells(source: Any, column: str) -> Iterator[tuple[range, list[Any]]]:
    for start in range(0, len(source), CHUNK):
        rows = range(start, min(start + CHUNK, len(source)))
        yield rows, source[rows.start : rows.stop][column]


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [HuggingFace]
