"""``RUN/model/edits.json``: the edits of a clustering, in order. It alone tells them; tables and page follow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from imcswav.clustering import Clustering
from imcswav.clustering.edits.assign import Assign
from imcswav.clustering.edits.merge import Merge
from imcswav.clustering.edits.operation import Edit
from imcswav.clustering.edits.outliers import DropOutliers
from imcswav.clustering.edits.refit import Refit
from imcswav.clustering.edits.rename import Rename
from imcswav.clustering.edits.split import Split
from imcswav.errors import RunError
from imcswav.files import write_atomically

FILE = "edits.json"
FORMAT = 1
AnyEdit = Annotated[Merge | Split | Rename | DropOutliers | Assign | Refit, Field(discriminator="op")]
EDITS: TypeAdapter[tuple[Edit, ...]] = TypeAdapter(tuple[AnyEdit, ...])


@dataclass(frozen=True)
class Kept:
    """The edits of a clustering whose clusters were numbered ``ids`` before all of them."""

    ids: tuple[int, ...]
    edits: Sequence[Edit] = ()
    undone: Sequence[Edit] = ()
    """Edits that were taken back."""

    @property
    def state(self) -> int:
        """A number that every edit and every undoing makes larger: by it a page knows what it was made of."""
        return len(self.edits) + 2 * len(self.undone)

    @property
    def free(self) -> int:
        """The first number above all that clusters have or had."""
        parts = [part for edit in self.edits if isinstance(edit, Split) for part in edit.parts or ()]
        return max((*self.ids, *parts)) + 1

    def applied(self, clustering: Clustering) -> Clustering:
        """The clustering, stored or of new images, as edited; raises RunError where the edits are another's."""
        if clustering.probabilities_NK.shape[1] != len(self.ids):
            raise RunError(
                f"{FILE} has edits of {len(self.ids)} clusters, but there are {clustering.probabilities_NK.shape[1]}; "
                f"move the file out of the run's model/, and edit anew."
            )
        clustering = replace(clustering, ids=self.ids)
        for edit in self.edits:
            clustering = edit.applied(clustering)
        return clustering

    @cached_property
    def after(self) -> Clustering:
        """A clustering of no images, for the numbers and names that the clusters have now."""
        none_NF = np.zeros((0, 1), np.float32)
        return self.applied(Clustering([], none_NF, np.zeros((0, len(self.ids)), np.float32), self.ids))

    def shared(self) -> Kept:
        """What a model for others needs of them: neither names of images nor what was undone."""
        edits = [edit.model_copy(update={"said": ""}) for edit in self.edits if not isinstance(edit, Assign)]
        return Kept(self.ids, edits)

    def text(self) -> str:
        """As JSON, an edit a line."""
        parts = [f'"format": {FORMAT}', f'"ids": {json.dumps(self.ids)}']
        parts += [f'"{name}": {_lines(getattr(self, name))}' for name in ("edits", "undone")]
        return "{" + ",\n".join(parts) + "}\n"

    def write(self, folder: Path) -> None:
        """Into a folder, atomically; raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / FILE, lambda path: path.write_text(self.text(), encoding="utf-8"))

    @classmethod
    def read(cls, folder: Path) -> Kept | None:
        """Of a model's folder; None where nothing was ever edited, RunError where the file can't be read."""
        path = folder / FILE
        if not path.exists():
            return None
        try:
            return cls.parse(path.read_text(encoding="utf-8"), path)
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{path} can't be read ({error!r}); move it away to go on without edits.") from error

    @classmethod
    def parse(cls, text: str, path: Path) -> Kept:
        """From what ``text`` gave, found in ``path``; raises RunError where it is something else."""
        try:
            table: dict[str, Any] = json.loads(text)
            if table["format"] != FORMAT:
                raise RunError(f"{path} is of format {table['format']}, this imcswav reads {FORMAT}; upgrade it.")
            edits, undone = (EDITS.validate_python(table[name]) for name in ("edits", "undone"))
            if any(edit.unlearnt for edit in edits):
                raise ValueError("an edit lacks what it learnt")
            return cls(tuple(table["ids"]), edits, undone)
        except ValidationError as error:
            raise RunError(
                f"{path} can't be read ({_explained(error)}); move it away to go on without edits."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} can't be read ({error!r}); move it away to go on without edits.") from error


def parsed(tables: Any, source: str) -> Sequence[Edit]:
    """Edits from tables as JSON has them; raises RunError, whose sentence begins with ``source``."""
    try:
        return EDITS.validate_json(json.dumps(tables), strict=True)
    except ValidationError as error:
        raise RunError(f"{source} can't be made ({_explained(error)}); mend it or leave it out.") from error


def _explained(error: ValidationError) -> str:
    """The first of pydantic's complaints, with its place."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def _lines(edits: Sequence[Edit]) -> str:
    return "[\n" + ",\n".join(edit.model_dump_json(exclude_none=True) for edit in edits) + "]" if edits else "[]"
