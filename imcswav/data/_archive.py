"""What data sets share that come as one archive: torchvision knows where from, and the md5 sums of its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field

from imcswav.data import Data, DataFacts
from imcswav.errors import DataError


class ArchiveConfig(Data.Config):
    """Settings of all; a subclass says which of torchvision's classes reads it, and what is known of the images."""

    reader: ClassVar[str]
    title: ClassVar[str]
    page: ClassVar[str]
    side: ClassVar[int]
    tests: ClassVar[int]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]

    root: str = Field("data", min_length=1)
    """Folder that holds the data set's own folder, or gets it; relative to the working directory."""
    download: bool = True
    """Fetch the archive into ``root`` when it isn't there."""

    limit: int | None = Field(None, ge=2)
    """Train on this many images, drawn evenly and always the same ones."""

    def count(self) -> int:
        """Training images without a ``limit``."""
        raise NotImplementedError

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        raise NotImplementedError

    def subsets(self) -> dict[str, int]:
        """The training split's subsets, and how many images are in each."""
        return {}

    def facts(self) -> DataFacts:
        """Known without a look at the files; raises DataError when they are missing and not to be downloaded."""
        folder = self.folder() / self.torchvision_class().base_folder
        if not self.download and not folder.is_dir():
            raise self.missing(f"{folder} is not there and download is off")
        images = min(self.count(), self.limit or self.count())
        return DataFacts(images, 3, self.side, self.mean, self.std, subsets=self.subsets(), test_images=self.tests)

    def resolved(self) -> Self:
        """With an absolute root."""
        return self.model_copy(update={"root": os.path.abspath(self.folder())})

    def folder(self) -> Path:
        """The root with "~" replaced."""
        return Path(os.path.expanduser(self.root))

    def torchvision_class(self) -> Any:
        """The class of torchvision that reads the files."""
        from torchvision import datasets

        return getattr(datasets, self.reader)

    def missing(self, why: str) -> DataError:
        """The error for files that aren't there."""
        source = self.torchvision_class()
        return DataError(
            f"{self.title} can't be read from '{self.root}' ({why}); unpack {source.filename} from {self.page} so "
            f"that '{self.root}' holds the folder {source.base_folder}, or use a copy in single image files "
            f'with the data set "image_folder".'
        )

    def failed(self, error: Exception) -> DataError:
        """The error for files that can't be fetched or read."""
        reason = " ".join(str(error).split()).rstrip(".")
        return self.missing(f"{type(error).__name__}: {reason}")
