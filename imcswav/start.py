"""The start of a second stage: a finished run's weights for every part of the learner that they fit (``[init]``)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor

from imcswav.data import DataFacts
from imcswav.errors import ImcswavError, Problem, RunError, WeightsError
from imcswav.learners import Learner, training_only
from imcswav.recipe import Recipe
from imcswav.runs import RunFolder
from imcswav.weights import Fit, Normalization, read_weights, trained_with, weights_file

INSIDE = "learner."
"""Where the learner stands among the weights of a run."""
PLACE = "init.run"
NEAR = 0.1
"""Share of a channel's deviation by which mean and std may be others than the run's before that is told."""
NEEDED = "backbone"
"""The part without which a second stage would start from nothing."""
REMEDY = "Take the run's own backbone, with the same settings."
NO_RUN = Problem(
    "init.rung", "names a rung, of which there is a run for each seed.",
    "Name a run: --set init.run=FOLDER; or run it by `imcswav ladder`, or with --seeds and --out beside that folder.",
)  # fmt: skip


@dataclass(frozen=True)
class Start:
    """What a run gives a learner: tensors by the learner's own names, and the parts that start anew."""

    run: Path
    found: dict[str, Tensor]
    parts: list[str]
    lacking: dict[str, str]
    """With the reason."""

    def problems(self) -> list[Problem]:
        """An error when the backbone or nothing fits; else a warning for all that starts anew together."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.lacking.items():
            reasons.setdefault(reason, []).append(name)
        told = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
        if not self.parts:
            return [Problem(PLACE, f"nothing of the run {self.run} fits the learner: {told}.", REMEDY)]
        if NEEDED in self.lacking:
            return [Problem(PLACE, f"the backbone of the run {self.run} doesn't fit: {told}.", REMEDY)]
        if not self.lacking:
            return []
        message = f"what the run {self.run} hasn't, or has in another shape, starts anew ({told})."
        return [Problem(PLACE, message, severity="warning")]

    def load(self, learner: Learner) -> dict[str, Any]:
        """Put the tensors into the learner; gives what ``environment.json`` says of the origin."""
        learner.load_state_dict(self.found, strict=False)
        return {"run": str(self.run), "sha256": _checksum(weights_file(self.run)), "parts": self.parts}


def take_normalization(run: Path, learner: Learner) -> list[Problem]:
    """Have a learner with a run's weights see images as the run did; a warning where its settings say otherwise."""
    try:
        with torch.random.fork_rng(devices=[]):  # the run's model is built for it, and what follows draws on
            theirs = trained_with(run)
    except WeightsError as error:  # a plugin that is gone, for one; the weights themselves are there
        return [Problem(PLACE, str(error), severity="warning")]
    if theirs is None:
        return []
    learner.take_normalization(*theirs)
    ours = learner.normalization()
    if _alike(theirs, ours):
        return []
    message = f"the run {run} normalised its images by {_told(theirs)}, and this recipe does by {_told(ours)}."
    remedy = "Set its mean and std to the run's, unless that is meant."
    return [Problem(PLACE, message, remedy, severity="warning")]


def _told(normalization: Normalization) -> str:
    mean, std = (", ".join(f"{value:.3g}" for value in values) for values in normalization)
    return f"mean [{mean}] and std [{std}]"


def _alike(one: Normalization, other: Normalization) -> bool:
    return all(
        abs(mean - other_mean) <= NEAR * std and abs(std - other_std) <= NEAR * std
        for mean, std, other_mean, other_std in zip(*one, *other, strict=True)
    )


def find_start(run: Path, learner: Learner) -> Start:
    """Match a finished run's weights with the parts of a learner, which may be on the meta device.

    Raises RunError when the folder is no run or the run isn't finished, ImcswavError when its weights can't be read.
    """
    return _match(run, read_weights(finished(run).path, INSIDE), learner)


def _match(run: Path, given: Mapping[str, Tensor], learner: Learner) -> Start:
    wanted = learner.state_dict()
    found: dict[str, Tensor] = {}
    parts: list[str] = []
    lacking: dict[str, str] = {}
    for part, names in learner.sources().items():
        if not (own := _within(wanted, part)):
            continue
        theirs = next((tensors for name in names if (tensors := _within(given, name))), {})
        fit = Fit.of(own, theirs)
        if fit.complete and not fit.unknown:
            found |= {f"{part}.{name}": theirs[name] for name in own if name in theirs}
            parts.append(part)
        else:
            lacking[part] = str(fit) if theirs else "not there"
    return Start(run, found, parts, lacking)


def finished(run: Path) -> RunFolder:
    """The folder of a run that came to its end; raises RunError."""
    folder = RunFolder.open(run)
    if not folder.finished:
        raise RunError(f"The run {run} isn't finished; end it first: imcswav resume {quote(str(run))}")
    return folder


def check_start(recipe: Recipe, facts: DataFacts | None) -> list[Problem]:
    """What stands against starting from the recipe's run; without facts only whether that is finished."""
    if recipe.init is None:
        return []
    if recipe.init.run is None:
        return [NO_RUN]
    try:
        run = finished(recipe.init.run.resolve()).path
        learner = None if facts is None else on_meta(recipe, facts)
        return [] if learner is None else find_start(run, learner).problems()
    except ImcswavError as error:
        return [Problem(PLACE, str(error))]


def check_rung(recipe: Recipe, rung: Recipe, facts: DataFacts | None) -> list[Problem]:
    """What stands against starting from a run of the recipe ``rung``, before there is one."""
    assert recipe.init is not None
    pair = () if facts is None else (on_meta(recipe, facts), on_meta(rung, facts))
    learner, other = pair or (None, None)
    if learner is None or other is None:
        return []
    idle = training_only(other)
    given = {name: value for name, value in other.state_dict().items() if name not in idle}
    return _match(Path(recipe.init.rung or ""), given, learner).problems()


def on_meta(recipe: Recipe, facts: DataFacts) -> Learner | None:
    """The learner without memory for its weights; None where it can't be built, which is for other checks to tell."""
    neutral = replace(facts, mean=(0.5,) * facts.channels, std=(0.25,) * facts.channels)
    settings: Any = recipe.learner
    try:
        with torch.device("meta"):
            learner: Learner = settings.restored().build(facts=neutral, clusters=recipe.clusters)
    except Exception:  # a stranger's part may raise anything
        return None
    return learner


def _within(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in state.items() if name.startswith(f"{part}.")}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
