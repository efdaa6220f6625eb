"""Several runs side by side: settings that differ, figures, agreement of their clusters, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imcswav.data import IN_ORDER
from imcswav.errors import ImcswavError
from imcswav.files import refuse_existing, write_json
from imcswav.recipe.flat import flat
from imcswav.results.assignments import Key, of_common_images, read_clusters
from imcswav.results.plots import plot_compared
from imcswav.results.series import is_series, read
from imcswav.runs import RunFolder, figures, within

WHERE = ("data.root", "data.placement")
"""Settings of the data that say where the images lie, not which they are."""
SHAPE = ("data.size", "data.channels", "data.resize", "evaluation.train_on")
"""Settings that change the digest of the training images, while those assigned may be the same."""


@dataclass(frozen=True)
class Agreement:
    """Adjusted Rand index between the clusters of two runs (their indices), over the images that both have.

    ``note`` says why there is none, or why it may mean nothing: images are matched by name, and "0", "1" … name those
    of any array.
    """

    first: int
    second: int
    images: int
    ari: float | None
    note: str | None = None


@dataclass(frozen=True)
class Comparison:
    """What ``compare_runs`` found; every list has an entry a run."""

    runs: list[Path]
    settings: dict[str, list[Any]]
    """By dotted path, only those that differ; None where a run has no such setting."""
    protocols: list[str | None]
    scores: dict[str, list[float | None]]
    agreements: list[Agreement]


def compare_runs(
    runs: Sequence[str | Path], plot_file: Path | None = None, json_file: Path | None = None
) -> Comparison:
    """Compare finished runs; a folder of several seeds stands for each of its finished runs.

    ``plot_file`` gets the curves (PNG), ``json_file`` everything. Raises RunError for fewer than two runs, an
    unfinished one, or an existing file.
    """
    refuse_existing(plot_file, json_file)
    folders = [folder for run in runs for folder in _folders(Path(run))]
    if len(folders) < 2:
        there = "this is one" if folders else "there is none yet"
        raise ImcswavError(f"Give at least two finished runs to compare; {there}.")
    summaries = [folder.summary() for folder in folders]
    tables = [flat(folder.recipe().tables()) for folder in folders]
    scores = [figures(summary) for summary in summaries]
    found = Comparison(
        runs=[folder.path for folder in folders],
        settings=_differing(tables),
        protocols=[summary.get("protocol") for summary in summaries],
        scores={
            name: [one.get(name) for one in scores] for name in dict.fromkeys(key for one in scores for key in one)
        },
        agreements=_agreements(
            [
                _Run(summary.get("data"), table, read_clusters(folder.path))
                for summary, table, folder in zip(summaries, tables, folders, strict=True)
            ]
        ),
    )
    if plot_file is not None:
        plot_compared(plot_file, {str(run.path): run.path / "metrics.jsonl" for run in folders})
    if json_file is not None:
        write_json(json_file, _record(found), new=True)
    return found


def _folders(path: Path) -> list[RunFolder]:
    if not is_series(path):
        return [RunFolder.open(path)]
    known = read(path)
    runs = [RunFolder(path / known["runs"][str(seed)]) for seed in known["seeds"] if str(seed) in known["runs"]]
    return [run for run in runs if run.finished]


def _differing(tables: list[dict[str, Any]]) -> dict[str, list[Any]]:
    paths = dict.fromkeys(path for table in tables for path in table)
    columns = {path: [table.get(path) for table in tables] for path in paths}
    return {path: column for path, column in columns.items() if any(value != column[0] for value in column)}


@dataclass(frozen=True)
class _Run:
    """Digest of the training images (None: of a version that kept none), settings by dotted path, clusters."""

    data: str | None
    settings: dict[str, Any]
    clusters: dict[Key, int]


def _agreements(runs: list[_Run]) -> list[Agreement]:
    pairs = [(one, other) for one in range(len(runs)) for other in range(one + 1, len(runs))]
    return [_agreement(one, other, runs[one], runs[other]) for one, other in pairs]


def _agreement(first: int, second: int, one: _Run, other: _Run) -> Agreement:
    from sklearn.metrics import adjusted_rand_score

    rows = of_common_images([one.clusters, other.clusters])
    different, note = _doubt(one, other)
    if different or not len(rows[0]):
        return Agreement(first, second, 0, None, note)
    return Agreement(first, second, len(rows[0]), float(adjusted_rand_score(*rows)), note)


def _doubt(one: _Run, other: _Run) -> tuple[bool, str | None]:
    """Whether two runs are of different images for certain, and a sentence wherever it isn't certain that they aren't.

    Digests that differ prove it, except where they would of the same images: of another size, in another protocol, or
    streamed, when files' sizes and times stand for the pixels.
    """
    if one.data is not None and one.data == other.data:
        return False, None
    differing = [
        path
        for path in dict.fromkeys([*one.settings, *other.settings])
        if within(path, ("data", "evaluation.train_on")) and one.settings.get(path) != other.settings.get(path)
    ]
    others = [path for path in differing if not within(path, WHERE)]
    known = [f"{path} differs" for path in others if within(path, ("data",))]
    if one.data is None or other.data is None:
        return False, _may_differ(known)
    if _former(one.data) != _former(other.data):
        return False, _may_differ([*known, "an earlier version digested one of them otherwise"])
    streamed = any("streamed" in digest for digest in (one.data, other.data))
    if all(within(path, SHAPE) for path in others) and (others or streamed):
        return False, _may_differ([f"{path} differs" for path in others] + ["files are streamed"] * streamed)
    return True, f"they were trained on different images ({one.data}; {other.data}), so there is no ARI."


def _former(digest: str) -> bool:
    return IN_ORDER not in digest and "streamed" not in digest


def _may_differ(reasons: list[str]) -> str | None:
    if not reasons:
        return None
    return f"their images may not be the same ({', '.join(reasons)}); if they aren't, the ARI means nothing."


def _record(found: Comparison) -> dict[str, Any]:
    return {
        "runs": [str(run) for run in found.runs],
        "protocols": found.protocols,
        "settings": found.settings,
        "scores": found.scores,
        "agreement": [vars(one) for one in found.agreements],
    }
