"""Run folders: ``runs/<recipe name>/<time>-<short id>/``, or a folder the user names. Never overwritten."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imcswav import lock
from imcswav.environment import continued_environment, environment
from imcswav.errors import PluginError, RecipeError, RunError
from imcswav.files import write_atomically, write_csv
from imcswav.recipe import Recipe
from imcswav.recipe.files import dump_recipe, load_recipe
from imcswav.recipe.flat import flat
from imcswav.recipe.merge import Overrides, parse_overrides

PLACE = (
    "data.placement",
    "trainer.device",
    "trainer.threads",
    "trainer.log_every",
    "evaluation.time_to_acc",
    "expected",
)
"""Dotted paths of what only says where to run, how loudly and what to tell of it: not what is to come of it."""
BASELINES = ("kmeans_acc", "features_kmeans_acc")
REFERENCE = ("acc_bn_test", *BASELINES)
"""Figures of every summary, whatever the recipe's metrics."""
FACTS = (
    "recipe", "metrics", "clusters", "clusters_used", "epochs", "steps", "skipped", "seconds", "cpu_seconds",
    "images_per_second", "stopped", "seed", "bn_statistics", "predict_views", "protocol", "trained_on", "scored_on",
    "data", "device", "precision", "run", "signals", "time_to_acc", "seconds_to_acc",
)  # fmt: skip
"""What else a summary says; the recipe's metrics stand beside it, so none may have such a name."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @classmethod
    def create(
        cls, recipe: Recipe, out: str | Path | None = None, origin: Mapping[str, Any] | None = None
    ) -> RunFolder:
        """Make the folder and write ``recipe.toml`` and ``environment.json``; ``origin`` goes into the latter.

        Raises RunError when ``out`` exists and isn't empty, or can't be written; PluginError for a metric whose name
        the summary needs.
        """
        refuse_taken(recipe)
        path = Path(out) if out is not None else new_folder(recipe.name)
        try:
            refuse_filled(path)
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path)
            with run.locked():
                refuse_filled(path)  # somebody may have been faster
                run.write_text("recipe.toml", dump_recipe(recipe))  # first: it makes the folder a run's
                run.write_environment(recipe, origin)
        except OSError as error:
            raise RunError(
                f"The run folder {path} can't be written: {error.strerror or error}; name another folder."
            ) from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run; raises RunError when there is no ``recipe.toml``."""
        folder = Path(path)
        if not (folder / "recipe.toml").is_file():
            refuse_many(folder)
            raise RunError(
                f"{folder} is no run folder: it holds no recipe.toml; give a folder that `imcswav run` made."
            )
        return cls(folder)

    @classmethod
    def latest_unfinished(cls, recipe: Recipe) -> RunFolder:
        """The newest run of this recipe under runs/ that isn't finished; one with a checkpoint before those without.

        Recipes are the same when they differ at most in where and how loudly they run.
        """
        folders = sorted((Path("runs") / recipe.name).glob("*/recipe.toml"), reverse=True)
        runs = [run for run in map(cls, (file.parent for file in folders)) if not run.finished]
        for run in sorted(runs, key=lambda run: not run.saved):  # stable: the newest first
            try:
                if run.can_go_on and same_but_for_place(run.recipe(), recipe.resolved()):
                    return run
            except RecipeError as error:
                warnings.warn(f"{run.path} is passed over: {error.problems[0].message}", stacklevel=2)
        raise RunError(
            f"There is no unfinished run of this recipe under {Path('runs') / recipe.name}; "
            f"leave --resume out to start one, or name the folder: imcswav resume RUN."
        )

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Folder of the exported model."""
        return self.path / "model"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end: the summary is there, and nobody works, or was killed, after writing it."""
        return (self.path / "summary.json").is_file() and not (self.path / lock.FILE).exists()

    @property
    def saved(self) -> bool:
        """Whether there is a checkpoint."""
        return any(self.checkpoints.glob("step-*.pt"))

    @property
    def can_go_on(self) -> bool:
        """Whether an unfinished run has a checkpoint, or may begin anew: without results, or without any training."""
        if not (self.path / "recipe.toml").is_file():
            return False
        results = self.model.exists() or (self.path / "summary.json").exists()
        return self.saved or not results or not self._trains

    @property
    def _trains(self) -> bool:
        """Whether there are epochs, as far as the recipe can be read."""
        try:
            return self.recipe().trainer.epochs > 0
        except RecipeError:
            return True

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others out, and remove what a killed process left half written; raises RunError, see ``lock.locked``."""
        with lock.locked(self.path):
            for folder in (self.path, self.checkpoints, self.model):
                lock.remove_leftovers(folder)
            yield

    def require(self) -> None:
        """Raise RunError when the folder was deleted or moved under the run."""
        if not (self.path / "recipe.toml").is_file():
            raise RunError(f"The run folder {self.path} was deleted or moved under the run; start a new one.")

    def recipe(self, overrides: Overrides = ()) -> Recipe:
        """The resolved recipe of the run, with settings that the caller changes."""
        return load_recipe(self.path / "recipe.toml", overrides)

    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds; raises RunError for an unfinished run."""
        try:
            loaded: dict[str, Any] = json.loads((self.path / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            message = f"{self.path} has no readable summary.json ({error}); is the run finished?"
            raise RunError(message) from error
        return loaded

    def forget_summary(self) -> None:
        """Remove the summary of a run that goes on: what is written after it is missing, or would be older than it."""
        (self.path / "summary.json").unlink(missing_ok=True)

    def write_environment(self, recipe: Recipe, origin: Mapping[str, Any] | None = None) -> None:
        """Write ``environment.json`` of a run that begins; raises OSError."""
        self.write_json("environment.json", environment(recipe.seed) | dict(origin or {}))

    def note_environment(self, recipe: Recipe) -> None:
        """Add to ``environment.json`` what is another on going on; raises RunError, PluginError as ``create``."""
        refuse_taken(recipe)
        try:
            known = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # somebody removed it: what is known now is better than nothing
            known = {}
        continued = continued_environment(known if isinstance(known, dict) else {}, environment(recipe.seed))
        if continued != known:
            try:
                self.write_json("environment.json", continued)
            except OSError as error:
                reason = error.strerror or error
                raise RunError(f"The run folder {self.path} can't be written: {reason}; make it writable.") from error

    def write_text(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        write_atomically(self.path / name, lambda path: path.write_text(text, encoding="utf-8"))

    def write_skipped(self, rows: Sequence[tuple[str, str]]) -> Path:
        """``skipped.csv``: what could not be read, and why."""
        path = self.path / "skipped.csv"
        write_csv(path, ("image", "reason"), rows)
        return path

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON atomically."""
        self.write_text(name, json.dumps(value, indent=2) + "\n")


def refuse_filled(path: Path, option: str = "folder") -> None:
    """Raise RunError when something stands where a new folder is to be, but for an empty one; ``option`` named it.

    What a run that was killed while it made the folder left there doesn't count.
    """
    if not is_free(path):
        raise RunError(f"{path} exists and is not an empty folder; nothing is overwritten: give another {option}.")


def refuse_many(folder: Path) -> None:
    """Raise RunError where a folder holds several runs, those of a series or a ladder, and one is asked for."""
    for file, what in {"seeds.json": "runs of several seeds", "ladder.json": "the runs of a ladder"}.items():
        if (folder / file).is_file():
            depth = "*" if file == "seeds.json" else "*/*"
            one = next((found.parent for found in sorted(folder.glob(f"{depth}/recipe.toml"))), folder / "RUN")
            raise RunError(f"{folder} holds {what}; give one of them, such as {one}.")


def is_free(path: Path) -> bool:
    """Whether nothing stands there but an empty folder, or one with what a killed run left half written."""
    return not path.exists() or (path.is_dir() and all(_is_leftover(entry) for entry in path.iterdir()))


def _is_leftover(path: Path) -> bool:
    return path.name == lock.FILE or (path.name.startswith(".") and path.name.endswith(".tmp"))


def new_folder(name: str) -> Path:
    """``runs/<name>/<time>-<short id>``, not made yet."""
    return Path("runs") / name / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def figures(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """The scores of a summary, by name: the recipe's metrics, then reference figures; None where there are no labels.

    Raises RunError for a summary that no run wrote.
    """
    metrics, names = summary.get("metrics"), list(summary)
    if isinstance(metrics, list):
        wanted = [*metrics, *REFERENCE]
    elif {"recipe", "clusters"} <= set(names):  # written by a version that kept no list: they stand between these
        wanted = names[names.index("recipe") + 1 : names.index("clusters")]
    else:
        wanted = [""]
    if not set(wanted) <= set(names):
        raise RunError("A summary.json holds no figures of a run; was it changed by hand?")
    return {name: summary[name] for name in wanted}


def refuse_taken(recipe: Recipe) -> None:
    """Raise PluginError for a metric whose name the summary uses itself: one would overwrite the other."""
    names = [settings.owner.name for settings in recipe.evaluation.metrics]
    for name in names:
        if name in (*FACTS, *REFERENCE):
            raise PluginError(
                f"The metric '{name}' can't stand in summary.json, which has a '{name}' of its own; give the metric "
                f"another name, or leave it out of evaluation.metrics."
            )


def same_but_for_place(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes ask for the same result, however loudly and on whatever device."""
    return _essence(one) == _essence(other)


def placing(overrides: Overrides) -> dict[str, Any]:
    """Those of the overrides that only say where to run and how loudly, by dotted path: what a begun run may change."""
    changes = {".".join(map(str, change.path)): change.plain for change in parse_overrides(overrides)[0]}
    return {path: value for path, value in changes.items() if within(path, PLACE) and not within(path, ("expected",))}


def within(path: str, places: Iterable[str]) -> bool:
    """Whether a setting, by dotted path, is one of ``places`` or in a table among them."""
    return any(path == place or path.startswith(f"{place}.") for place in places)


def _essence(recipe: Recipe) -> dict[str, Any]:
    return {path: value for path, value in flat(recipe.tables()).items() if not within(path, PLACE)}
