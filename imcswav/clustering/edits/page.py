"""The file that the page of a run makes: edits that somebody marked in a browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from imcswav.clustering.edits.kept import parsed
from imcswav.clustering.edits.operation import Edit
from imcswav.errors import RunError

FORMAT = 1
KEYS = {"format", "base", "edits"}


def read_page(path: Path, base: int) -> Sequence[Edit]:
    """Its edits; raises RunError for a file that is none such or of a page of another state than ``base``.

    ``{"format": 1, "base": 0, "edits": [{"op": "merge", "clusters": [3, 7]}, …]}``
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}; check the path.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is no JSON ({error}); save it from the page again.") from error
    if not isinstance(table, dict) or table.keys() != KEYS:
        raise RunError(f"{path} is no file of edits: it has to hold {', '.join(sorted(KEYS))} and nothing else.")
    if table["format"] != FORMAT:
        raise RunError(f"{path} is of format {table['format']!r}, this imcswav reads {FORMAT}; upgrade it.")
    if table["base"] != base or isinstance(table["base"], bool):
        raise RunError(
            f"{path} was made on a page of another state ({table['base']!r}, and now it is {base}); open the run's "
            f"report.html as it is now and mark them again."
        )
    edits = parsed(table["edits"], f"An edit of {path}")
    if not edits:
        raise RunError(f"{path} holds no edits; mark some on the page first.")
    return edits
