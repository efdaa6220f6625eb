"""What the commands print: tables for people."""

from __future__ import annotations

import fnmatch
import inspect
import math
import os
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from imcswav.component import KINDS, Settings
from imcswav.errors import ImcswavError, Problem
from imcswav.plugins import did_you_mean, registry
from imcswav.recipe.described import TABLES, settings_of, tables_within
from imcswav.recipe.files import recipe_names
from imcswav.runs import BASELINES, figures

if TYPE_CHECKING:
    from imcswav.api import RunResult
    from imcswav.preflight import Preflight
    from imcswav.results.predict import Predicted
    from imcswav.results.probe import Probed

# no markup: brackets in paths and types are text
PIPED = 160
"""Columns of a table that goes to no terminal, where COLUMNS doesn't say."""
_width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty(), width=_width)

LABELS = {
    "acc_bn_test": "ACC (statistics of test images)", "kmeans_acc": "k-means on pixels",
    "features_kmeans_acc": "k-means on features",
}  # fmt: skip


def warn(problem: Problem) -> None:
    """One warning, to standard error."""
    print(f"Warning: {problem}", file=sys.stderr)


def finished(result: RunResult, before: bool = False) -> None:
    """The summary as a table, the baselines beside the result; ``before``: it was there already."""
    if before:
        out.print("This run was finished before; nothing was trained.")
    summary = result.summary
    table = Table("", "this run", "k-means on pixels", "k-means on features", title=summary["recipe"])
    for name, value in _scores(summary).items():
        beside = ("kmeans_acc", "features_kmeans_acc") if name == "acc" else (None, None)
        table.add_row(
            LABELS.get(name, name.upper()),
            _figure(value),
            *(_figure(summary.get(key)) if key else "" for key in beside),
        )
    if table.row_count:
        out.print(table)
    else:
        out.print(f"{summary['recipe']}: no labels, so no scores.")
    facts = (
        "clusters",
        "clusters_used",
        "epochs",
        "seconds",
        "images_per_second",
        "seed",
        "bn_statistics",
    )
    out.print("  ".join(f"{name} {summary[name]}" for name in facts if summary[name] is not None))
    if summary.get("time_to_acc") is not None:
        seconds = summary["seconds_to_acc"]
        when = "in no evaluation" if seconds is None else f"after {seconds:.1f} seconds of training"
        out.print(f"ACC of {100 * summary['time_to_acc']:g} % first reached: {when}")
    if summary.get("stopped"):
        out.print(summary["stopped"])
    if "protocol" in summary:  # a run of an earlier version has none
        out.print(f"Protocol: {summary['protocol']}; {_images(summary)}")
    out.print(f"Run folder: {result.path}", soft_wrap=True)


def _images(summary: dict[str, Any]) -> str:
    """ "train (50000 images), test (10000 images)", each once."""
    return ", ".join(dict.fromkeys((summary["trained_on"], summary["scored_on"])))


def _scores(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures(summary).items() if value is not None and name not in BASELINES}


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def scores(found: dict[str, float]) -> None:
    """Figures of `imcswav evaluate`."""
    if not found:
        out.print("The data have no labels, so there is nothing to score.")
        return
    table = Table("metric", "value")
    for name, value in found.items():
        table.add_row(name, f"{value:.4f}")
    out.print(table)


def probed(found: Probed) -> None:
    """Outcome of `imcswav evaluate --probe`."""
    table = Table(title=f"{found.probe} probe", show_header=False)
    table.add_row("accuracy", f"{found.accuracy:.4f}")
    table.add_row("protocol", found.protocol)
    table.add_row("labelled images", f"{found.learnt_from} to learn from, {found.scored_on} scored")
    table.add_row("classes", str(found.classes))
    for name, value in found.settings.items():
        table.add_row(name.replace("_", " "), str(value))
    out.print(table)
    if not found.converged:
        out.print(f"The linear probe had not converged after {found.settings['max_iterations']} iterations.")


def predicted(done: Predicted, what: str = "assigned") -> None:
    """Outcome of `imcswav predict` and `features`."""
    out.print(f"{done.rows} {'image' if done.rows == 1 else 'images'} {what}: {done.out}", soft_wrap=True)
    for path, reason in done.skipped:
        print(f"Skipped {path}: {reason}", file=sys.stderr)
    if done.skipped:
        out.print(f"{len(done.skipped)} skipped: {done.skipped_file}", soft_wrap=True)
    if done.others:
        from imcswav.imaging.find import counted, printable

        out.print(f"Left out: {counted(done.others)}; the first is {printable(done.others[0])}.", soft_wrap=True)


def costs(found: Preflight) -> None:
    """Outcome of `imcswav check` where nothing is wrong."""
    cost, trial = found.cost, found.trial
    assert cost is not None
    count = len(found.warnings)
    warned = f", {count} warning{'s' if count > 1 else ''}" if count else ""
    table = Table(title=f"{found.name}: no errors{warned}", show_header=False)
    table.add_row("trainable parameters", f"{cost.parameters:,}")
    table.add_row("operations an image", f"{cost.operations / 1e9:.2f} GFLOP")
    table.add_row("training images", f"{cost.images:,}")
    table.add_row("steps an epoch", f"{cost.steps_per_epoch:,}")
    table.add_row("steps", f"{cost.steps:,}")
    if trial is None or trial.memory is None:
        table.add_row("memory (float32, estimated)", f"{cost.memory / 2**30:.2f} GiB")
    else:
        table.add_row(f"memory on {trial.device} (measured)", f"{trial.memory / 2**30:.2f} GiB")
    if trial is not None:
        of = f" of {trial.images} images" if trial.images < trial.batch else ""
        table.add_row(
            f"training on {trial.device}", f"{about(trial.seconds * cost.steps)} ({trial.timed} steps{of} timed)"
        )
    out.print(table)


def about(seconds: float) -> str:
    """A time that nobody knows exactly."""
    units = (("second", 1, 90), ("minute", 60, 90), ("hour", 3600, 48), ("day", 86400, math.inf))
    unit, length = next((unit, length) for unit, length, fewer in units if seconds < length * fewer)
    count = max(1, round(seconds / length))
    return f"about {count} {unit}{'s' if count > 1 else ''}"


def components(kind: str | None, pattern: str | None = None) -> None:
    """All components, or those of a kind; with a glob those of such names, and what their settings choose from."""
    if kind == "recipe":
        names = fnmatch.filter(recipe_names(), pattern or "*")
        if not names:
            raise ImcswavError(f"No recipe's name fits '{pattern}'; `imcswav list recipe` lists them all.")
        return out.print("\n".join(names))
    found = registry()
    if kind is not None and kind not in KINDS:
        raise ImcswavError(f"There is no kind '{kind}' to list. {did_you_mean(kind, [*KINDS, 'recipe'])}")
    asked = [cls for cls in found if kind in (None, cls.kind)]
    table = Table("kind", "name", "what", "package")
    for cls in asked:
        if fnmatch.fnmatchcase(cls.name, pattern or "*"):
            table.add_row(cls.kind, cls.name, _first_line(cls), found.origins[cls.kind, cls.name])
    choices = {cls: fnmatch.filter(cls.Config.choices(), pattern) for cls in asked} if pattern else {}
    if not (table.row_count or any(choices.values())):
        raise ImcswavError(f"No {kind or 'component'} is called like '{pattern}'; try a wider pattern, as '*net*'.")
    if table.row_count:
        out.print(table)
    for cls, names in choices.items():
        if names:
            out.print(f"{cls.kind} {cls.name}, {cls.Config.hinge}:\n" + "\n".join(f"  {name}" for name in names))
    for sentence in found.broken:
        print(f"Warning: {sentence}", file=sys.stderr)
    return None


def component(kind: str, name: str | None) -> None:
    """Every setting of one component, or of a table of the recipe that no component owns."""
    if kind in TABLES and name is not None:
        raise ImcswavError(
            f"`imcswav show {kind}` takes no name, such as '{name}': it shows what such a table may hold."
        )
    if kind in TABLES:
        return settings(f"[{kind}]" if kind != "recipe" else "a recipe", TABLES[kind])
    if name is None and kind not in KINDS:
        kinds = [cls.kind for cls in registry() if cls.name == kind]
        if len(kinds) > 1:
            raise ImcswavError(f"'{kind}' names a {' and a '.join(kinds)}; say which: imcswav show {kinds[0]} {kind}.")
        kind, name = (kinds[0], kind) if kinds else (kind, None)
    if name is None and kind not in KINDS:
        near = did_you_mean(kind, [*KINDS, *TABLES, *(cls.name for cls in registry())])
        hint = near if near.startswith("Did") else did_you_mean(kind, [*KINDS, *TABLES])
        raise ImcswavError(f"There is no kind or component '{kind}'. {hint}")
    if name is None:
        return components(kind)
    if kind not in KINDS:
        raise ImcswavError(f"There is no kind '{kind}'. {did_you_mean(kind, [*KINDS, *TABLES])}")
    cls = registry().get(kind, name)
    out.print(f"{kind} {name}  ({registry().origins[kind, name]}, {cls.__module__}.{cls.__qualname__})\n")
    out.print(f"{inspect.getdoc(sys.modules[cls.__module__]) or ''}\n\n{inspect.getdoc(cls) or ''}\n")
    return settings(None, cls.Config)


def settings(title: str | None, table: type[Settings]) -> None:
    """Type, default, range and meaning of each setting; tables within follow."""
    shown = Table("setting", "type", "default", "range", "meaning", title=title)
    for one in settings_of(table):
        shown.add_row(one.name, one.type, one.default, one.limits, one.meaning)
    out.print(shown)
    for name, inner in tables_within(table).items():
        settings(name, inner)


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n")[0]
