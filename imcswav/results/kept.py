"""Which run of a series of seeds to keep, chosen by a signal that needs no labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imcswav.errors import ImcswavError, RunError
from imcswav.plugins import did_you_mean
from imcswav.results.assignments import of_common_images, read_clusters
from imcswav.results.signals import OF_HEADS, OF_RUN, OF_SERIES, larger_is_better

DEFAULT = "seed_agreement"
"""The signal that a run is chosen by, unless another is named."""
FEWEST = 3
"""Runs it takes for one to agree with the others more than these do: two agree with each other alike."""


@dataclass(frozen=True)
class Kept:
    """The run that a signal chose: its ``seed``, and the signal's ``values`` of all runs that have it, by seed."""

    seed: int
    by: str
    values: dict[int, float]

    def __str__(self) -> str:
        others = ", ".join(f"{value:.4f} (seed {seed})" for seed, value in self.values.items() if seed != self.seed)
        wish = "largest" if larger_is_better(self.by) else "smallest"
        beside = f"; the others: {others}" if others else "; there is no other"
        return f"Kept: seed {self.seed}, by {self.by} {self.values[self.seed]:.4f}, the {wish}{beside}."

    def record(self, folder: str) -> dict[str, Any]:
        """What ``seeds.json`` says of it; ``folder`` is the run's."""
        return {**asdict(self), "values": {str(seed): value for seed, value in self.values.items()}, "run": folder}


def check_signal(name: str, runs: int) -> None:
    """Raise ImcswavError for what can't choose among so many runs; which losses there are, only runs can tell."""
    if name in OF_SERIES and runs < FEWEST:
        raise ImcswavError(
            f"The signal '{name}' tells runs apart from {FEWEST} seeds on; give more seeds, or another signal by "
            f"--keep-by, such as silhouette."
        )
    larger = [*OF_RUN, *OF_HEADS, *OF_SERIES]
    if larger_is_better(name) and name not in larger:
        known = [*larger, "loss"]
        hint = did_you_mean(name, known)
        hint = hint if hint.startswith("Did") else ""  # all are told already
        raise ImcswavError(f"There is no signal '{name}'; there are {', '.join(known)} and loss/<name>. {hint}".strip())


def check_known(name: str, signals: Mapping[int, Mapping[str, float]]) -> None:
    """Raise RunError for a signal that none of the finished runs has; those of a series come when all are finished."""
    if signals and name not in OF_SERIES:
        choose(signals, name)


def choose(signals: Mapping[int, Mapping[str, float]], by: str) -> Kept:
    """The seed whose signal ``by`` is best, the first of equals; runs that lack it are out.

    Raises RunError where none has it.
    """
    values = {seed: found[by] for seed, found in signals.items() if by in found}
    if not values:
        known = ", ".join(dict.fromkeys(name for found in signals.values() for name in found)) or "none"
        raise RunError(f"No run has the signal '{by}' to choose by; give another one by --keep-by. There are: {known}.")
    sign = 1 if larger_is_better(by) else -1
    return Kept(max(values, key=lambda seed: sign * values[seed]), by, values)


def seed_agreement(runs: Mapping[int, Path]) -> dict[int, dict[str, float]]:
    """Mean ARI and NMI of each run's clusters with every other run's, over all images that all of them assign.

    By seed: ``seed_agreement`` (ARI, in [−0.5, 1]) and ``seed_agreement_nmi`` (in [0, 1]), larger is better: what
    other seeds find too is less of an accident. It says nothing against a mistake that all make, except that a run
    with one cluster for everything agrees with none: 0. Empty for a single run, or without images in common. Source:
    stability of clusterings (Lange et al. 2004).
    """
    if len(runs) < 2:
        return {}
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    clusters = dict(zip(runs, of_common_images([read_clusters(path) for path in runs.values()]), strict=True))
    if not all(map(len, clusters.values())):
        return {}
    pairs = [(one, other) for one in clusters for other in clusters if one < other]
    scores = (adjusted_rand_score, normalized_mutual_info_score)
    collapsed = {seed for seed, rows in clusters.items() if len(set(rows)) < 2}  # two such have an index of 1
    found = {
        pair: [0.0 if collapsed & set(pair) else float(score(*(clusters[seed] for seed in pair))) for score in scores]
        for pair in pairs
    }
    means = {}
    for seed in clusters:
        rows = [values for pair, values in found.items() if seed in pair]
        columns = zip(OF_SERIES, zip(*rows, strict=True), strict=True)
        means[seed] = {name: round(sum(column) / len(column), 6) for name, column in columns}
    return means
