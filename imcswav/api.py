"""The Python side of the commands: run, resume, load, evaluate, probe."""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, get_args

import torch

from imcswav import distributed
from imcswav.blame import culprit
from imcswav.build import build_run, restore_run
from imcswav.check import check_run
from imcswav.data import Data, DataFacts
from imcswav.data.array import ArrayData
from imcswav.errors import FULL, DataError, ImcswavError, Problem, RecipeError, RunError
from imcswav.evaluate import assess, baselines
from imcswav.model import Model
from imcswav.part import dump_part
from imcswav.protocol import training_data
from imcswav.recipe import Recipe
from imcswav.recipe.files import load_partly, load_recipe, placed
from imcswav.recipe.merge import Overrides, joined, parse_overrides
from imcswav.results.artefacts import finish
from imcswav.results.probe import Kind, Probed, probe_model
from imcswav.runs import RunFolder, placing, within
from imcswav.trainer import Trainer


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder and its ``summary.json``."""

    path: Path
    summary: dict[str, Any]

    def load(self, device: str = "auto") -> Model:
        """The trained model."""
        return Model.load(self.path, device)


def run(
    recipe: str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    out: str | Path | None = None,
    data: Any = None,
    warn: Callable[[Problem], object] | None = None,
) -> RunResult:
    """Train, evaluate and write a run folder.

    ``recipe`` is a TOML file, the name of a shipped recipe, or tables; ``overrides`` are "a.b=c" or a mapping of
    dotted paths; ``out`` an empty or new folder (default ``runs/<name>/<time>-<id>``).

    ``data``: images in place of the recipe's: an array (N, H, W), (N, H, W, C) or (N, C, H, W), a list of paths or PIL
    images, a torch Dataset whose items are images or (image, label) pairs, or a built Data component. Labels only
    score. Settings of the "array" data (size, channels, resize) are overrides: ``{"data.size": 32}``.

    ``warn`` is called with each warning; by default it becomes a Python warning.

    Raises RecipeError with all problems at once, DataError, RunError; after saving, KeyboardInterrupt upon Ctrl-C and
    SystemExit upon SIGTERM or SIGUSR1.
    """
    return complete(prepare(recipe, overrides, out, data, warn))


def prepare(
    recipe: str | Path | Mapping[str, Any],
    overrides: Overrides,
    out: str | Path | None,
    data: Any,
    warn: Callable[[Problem], object] | None,
    ready: Callable[[], object] | None = None,
) -> Trainer:
    """Everything of ``run`` up to the first step: checks, data, the run folder, before which ``ready`` is called."""
    distributed.start()
    overrides = with_data(overrides, data)
    loaded = _loaded(recipe, overrides, out, data)
    try:
        trainer, problems = build_run(loaded, out=out, data=_as_data(data, loaded), ready=ready)
    except RecipeError as error:
        raise RecipeError(error.source, placed(error.problems, recipe, overrides)) from error
    for problem in placed(problems, recipe, overrides) if distributed.is_main() else ():
        (warn or _warn)(problem)
    return trainer


def _loaded(source: str | Path | Mapping[str, Any], overrides: Overrides, out: Any, data: Any) -> Recipe:
    """The recipe; where it has mistakes, RecipeError tells with them what else would keep it from running."""
    try:
        return load_recipe(source, overrides)
    except RecipeError as error:
        found = load_partly(source, overrides)
        if found.recipe is None or data is not None:  # of data handed over only the recipe says what they are
            raise
        others = placed(check_run(found.recipe, out=out, wrong=found.wrong), source, overrides)
        problems = [*error.problems, *(problem for problem in others if problem.severity == "error")]
        raise RecipeError(error.source, problems) from error


def resume(run: str | Path, device: str | None = None, data: Any = None, overrides: Overrides = ()) -> RunResult:
    """Go on with an interrupted run from its newest checkpoint; a finished one is returned as it is.

    A run that was killed before its first checkpoint begins anew in its folder, with a warning. ``data`` are the images
    of a run that was begun with images handed over. Of ``overrides`` those count that say where to run and how loudly
    (``trainer.threads``, ``trainer.log_every`` …); the run keeps its other settings.

    Raises RunError when another process works in the folder, or when the run can't go on; DataError.
    """
    distributed.start()
    folder = RunFolder.open(run)
    if distributed.from_main(folder.finished):
        return RunResult(folder.path, folder.summary())
    with _held(folder):
        place = placing(overrides)
        ready = _as_data(data, folder.recipe())
        return complete(restore_run(folder, device=device, data=ready, overrides=place))


def load(run: str | Path, device: str = "auto") -> Model:
    """The model of a finished run; raises RunError when there is none."""
    return Model.load(run, device)


def evaluate(run: str | Path, device: str = "auto", data: Any = None, overrides: Overrides = ()) -> dict[str, float]:
    """Score the saved model of a run on its data again; empty without labels.

    ``overrides`` change settings below ``data`` and ``evaluation``: where the images are now, for one. Raises RunError
    without a finished run, ImcswavError for other settings, RecipeError, DataError.
    """
    recipe, model = _scored_by(run, overrides), Model.load(run, device)
    source = _fitting(training_data(recipe, _as_data(data, recipe, model.facts)), model)
    assessment = assess(model, source, recipe, fit_clusterer=False)
    return assessment.scores | baselines(assessment, recipe)


def _scored_by(run: str | Path, overrides: Overrides) -> Recipe:
    """The run's recipe with what may be other when it is scored again."""
    changes, _ = parse_overrides(overrides)
    for path in (".".join(map(str, change.path)) for change in changes):
        if not within(path, ("data", "evaluation")):
            raise ImcswavError(
                f"{path} can't be changed for a run that is finished; settings of data and evaluation can."
            )
    folder = RunFolder.open(run)
    trained, recipe = folder.recipe(), folder.recipe(overrides)
    if recipe.evaluation.train_on != trained.evaluation.train_on:
        raise ImcswavError(
            f'The run was trained with evaluation.train_on = "{trained.evaluation.train_on}", and its images are '
            f"scored in that protocol; leave it as it is."
        )
    return recipe


def _fitting(source: Data, model: Model) -> Data:
    """The data; raises DataError where its images are none that the model was made for."""
    for name in ("channels", "size"):
        made, found = getattr(model.facts, name), getattr(source.facts, name)
        if made != found:
            raise DataError(
                f"The run was trained on images with {name} = {made}, and these have {found}; leave data.{name} as it "
                f"was, and name images of the same kind."
            )
    return source


def probe(run: str | Path, kind: Kind, device: str = "auto", data: Any = None, overrides: Overrides = ()) -> Probed:
    """How well classes can be read off a run's features: ``kind`` "linear" or "knn".

    Logistic regression on standardised features, or the vote of the nearest training images. It learns from the labels
    of the training images and is scored on the test images; on the one split, where there is no other, images are
    cross-validated in five folds, or left out one by one. ``data`` as for ``run``; ``overrides`` change settings
    below ``data`` and ``evaluation``, such as where the images are now.

    Raises RunError without a finished run, ImcswavError for other settings, DataError without labels and for images
    of another size or number of channels, RecipeError.
    """
    if kind not in get_args(Kind):
        raise ImcswavError(f"There is no probe '{kind}'; take one of {', '.join(get_args(Kind))}.")
    recipe, model = _scored_by(run, overrides), Model.load(run, device)
    source = _fitting(training_data(recipe, _as_data(data, recipe, model.facts)), model)
    return probe_model(model, source, recipe, kind)


def _warn(problem: Problem) -> None:
    warnings.warn(str(problem), stacklevel=4)


def with_data(overrides: Overrides, data: Any) -> Overrides:
    """The overrides, with the recipe's data replaced by those handed over."""
    if data is None:
        return overrides
    table = dump_part(data.config) if isinstance(data, Data) else {"name": ArrayData.name}
    changes = {f"data.{key}": value for key, value in table.items()}
    return joined(overrides, changes)


def _as_data(data: Any, recipe: Recipe, facts: DataFacts | None = None) -> Data | None:
    """Images handed over as data: in the form that the recipe has for such, else in that of a model's ``facts``."""
    if data is None or isinstance(data, Data):
        return data
    if isinstance(recipe.data, ArrayData.Config):
        built: Data = recipe.data.build(data=data)
        return built
    if facts is None:
        raise DataError(
            f"The run has the data '{recipe.data.owner.name}', so it can't go on with images handed over; leave data "
            f"out, or start a new run with them."
        )
    return ArrayData.of(data, size=facts.size, channels=facts.channels, resize=facts.resize)


def complete(trainer: Trainer) -> RunResult:
    """Train to the end and write what a finished run leaves; raises RunError where the folder can't be written."""
    try:
        with _held(trainer.run):
            if distributed.is_main():  # of a process that was killed while it wrote what comes after
                trainer.run.forget_summary()
            trainer.fit()
            return RunResult(trainer.run.path, finish(trainer))
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"{trainer.device} has no memory left at step {trainer.step}; start anew with a smaller trainer.batch_size "
            f"or with batches encoded in pieces (learner.micro_batch); `imcswav check` measures what they take."
        ) from error
    except OSError as error:
        trainer.run.require()
        if culprit(error) or not _of_folder(error, trainer.run.path):
            raise
        path, reason = trainer.run.path, error.strerror or error
        raise RunError(
            f"The run folder {path} can't be written any more ({reason}); make room or bring it back, then go on with: "
            f"imcswav resume {quote(str(path))}"
        ) from error
    finally:
        trainer.call("close")


FAILING = {errno.EIO, errno.ESTALE, errno.EFBIG, errno.ENOTCONN, errno.ENXIO, errno.ENODEV}
"""What a disk says that fails, is gone, or allows no larger file."""


def _of_folder(error: OSError, folder: Path) -> bool:
    """Whether it is a file of the folder; where none is named, a disk's, for training writes there alone."""
    named = [name for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)]
    files = [Path(name).absolute() for name in named]
    if not files:
        return error.errno in FULL | FAILING
    return any(file.is_relative_to(folder.absolute()) for file in files)


def _held(run: RunFolder) -> contextlib.AbstractContextManager[None]:
    """The folder's lock; of several processes that train together the main one holds it for all."""
    return run.locked() if distributed.is_main() else contextlib.nullcontext()
