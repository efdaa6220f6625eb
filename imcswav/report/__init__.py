"""``report.html``: a clustering to look at and to correct, in one file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

from imcswav.clustering import Clustering
from imcswav.clustering.thumbnails import load_thumbnails
from imcswav.clustering.written import write_ours
from imcswav.files import write_atomically
from imcswav.report.build import Page, build_page

NAME = "report.html"
BUDGET = 25.0
"""Megabytes of the page, where nothing else is asked for."""
SCRIPTS = ("page.js", "map.js", "curves.js", "edits.js")
FIXED = 500_000
"""Bytes that the page itself takes, apart from plotly, data and pictures; rounded up."""


def write_report(clustering: Clustering, run: Path, out: Path | None = None, *, budget: float = BUDGET) -> Path | None:
    """Write ``out``, else ``RUN/report.html``, of at most about ``budget`` megabytes.

    A ``RUN/report.html`` that somebody changed is kept beside it: returns where, or None. Pictures give way to the
    budget; names and figures of at most 10,000 images don't. Raises OSError, and RunError where ``out`` exists.
    """
    from imcswav.clustering.edits.kept import Kept  # edits write reports

    kept = Kept.read(run / "model")
    edits = 0 if kept is None else kept.state
    page = build_page(clustering, run, load_thumbnails(run), budget=_room(clustering, budget), edits=edits)
    text = render(page)

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    if out is None:
        return write_ours(run, NAME, write)
    write_atomically(out, write, new=True)
    return None


def render(page: Page) -> str:
    """The page as HTML: texts are escaped, only the page's own scripts may run, and none may connect."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("imcswav.report", "page"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    scripts = [_plotly(), "\n".join(_own(name) for name in SCRIPTS)]
    return environment.get_template("page.html.jinja").render(
        page=page, style=_own("page.css"), scripts=scripts, hashes=[_hash(script) for script in scripts],
        data=_embedded(page.data),
    )  # fmt: skip


def _room(clustering: Clustering, budget: float) -> float:
    """Bytes of the budget that are left for pictures."""
    names = sum(len(name) for name in clustering.names) / max(1, len(clustering))
    return budget * 1e6 - len(_plotly()) - FIXED - min(len(clustering), 10_000) * (names + 60)


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("\r\n", "\n")  # as a browser reads it, and hashes it


def _own(name: str) -> str:
    return resources.files("imcswav.report").joinpath("page", name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _embedded(data: Any) -> str:
    """JSON that can't end the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
