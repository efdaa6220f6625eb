"""What the commands print: tables for people."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.table import Table

from imcswav.component import KINDS, Component, Settings
from imcswav.errors import ImcswavError, Problem
from imcswav.part import Part, dump_part
from imcswav.plugins import did_you_mean, registry
from imcswav.recipe import EvaluationSettings, PredictSettings, Recipe, TrainerSettings
from imcswav.recipe_files import recipe_names

if TYPE_CHECKING:
    from imcswav.api import RunResult
    from imcswav.cost import Cost
    from imcswav.predict import Predicted

# no markup: brackets in paths and types are text
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())

TABLES: dict[str, type[Settings]] = {
    "recipe": Recipe, "trainer": TrainerSettings, "predict": PredictSettings, "evaluation": EvaluationSettings,
}  # fmt: skip
"""Tables of a recipe that no component owns."""
LABELS = {"acc_bn_test": "ACC (statistics of test images)"}


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
        "scored_on",
    )
    out.print("  ".join(f"{name} {summary[name]}" for name in facts))
    out.print(f"Run folder: {result.path}", soft_wrap=True)


def _scores(summary: dict[str, Any]) -> dict[str, Any]:
    names = list(summary)
    between = names[names.index("recipe") + 1 : names.index("kmeans_acc")]
    return {name: summary[name] for name in between if summary[name] is not None}


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def scores(figures: dict[str, float]) -> None:
    """Figures of `imcswav evaluate`."""
    if not figures:
        out.print("The data have no labels, so there is nothing to score.")
        return
    table = Table("metric", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}")
    out.print(table)


def predicted(done: Predicted) -> None:
    """Outcome of `imcswav predict`."""
    out.print(f"{done.rows} images assigned: {done.out}", soft_wrap=True)
    for path, reason in done.skipped:
        print(f"Skipped {path}: {reason}", file=sys.stderr)
    if done.skipped:
        out.print(f"{len(done.skipped)} skipped: {done.skipped_file}", soft_wrap=True)


def costs(recipe: Recipe, cost: Cost) -> None:
    """Outcome of `imcswav check`."""
    table = Table(title=f"{recipe.name}: no errors", show_header=False)
    table.add_row("trainable parameters", f"{cost.parameters:,}")
    table.add_row("operations an image (forward + backward)", f"{cost.operations / 1e9:.2f} GFLOP")
    table.add_row("training images", f"{cost.images:,}")
    table.add_row("steps an epoch", f"{cost.steps_per_epoch:,}")
    table.add_row("steps", f"{cost.steps:,}")
    table.add_row("memory, estimated for float32", f"{cost.memory / 2**30:.2f} GiB")
    out.print(table)


def components(kind: str | None) -> None:
    """All components, or those of a kind."""
    if kind == "recipe":
        return out.print("\n".join(recipe_names()))
    found = registry()
    if kind is not None and kind not in KINDS:
        raise ImcswavError(f"There is no kind '{kind}'. {did_you_mean(kind, [*KINDS, *TABLES])}")
    table = Table("kind", "name", "what", "package")
    for cls in found:
        if kind in (None, cls.kind):
            table.add_row(cls.kind, cls.name, _first_line(cls), found.origins[cls.kind, cls.name])
    out.print(table)
    for sentence in found.broken:
        print(f"Warning: {sentence}", file=sys.stderr)
    return None


def component(kind: str, name: str | None) -> None:
    """Every setting of one component, or of a table of the recipe that no component owns."""
    if kind in TABLES:
        return settings(f"[{kind}]" if kind != "recipe" else "a recipe", TABLES[kind])
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
    for setting, field in table.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        text = "required" if default is PydanticUndefined else _default(default)
        limits = ", ".join(_limit(mark) for mark in field.metadata if _limit(mark))
        shown.add_row(setting, _type(field.annotation, field.metadata), text, limits, field.description or "")
    out.print(shown)
    for setting, field in table.model_fields.items():
        for inner in _tables_within(field.annotation):
            if inner not in TABLES.values():
                settings(f"{setting}: each {inner.__name__}", inner)


def _default(value: Any) -> str:
    return dump_part(value)["name"] if isinstance(value, Component.Config) else repr(value)


def _tables_within(annotation: Any) -> list[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [] if issubclass(annotation, Component.Config) else [annotation]
    return [table for inner in get_args(annotation) for table in _tables_within(inner)]


def _limit(mark: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "min_length": "length ≥", "max_length": "length ≤"}
    return ", ".join(f"{sign} {getattr(mark, name)}" for name, sign in signs.items() if hasattr(mark, name))


def _type(annotation: Any, marks: Iterable[Any] = ()) -> str:
    """A type as a reader would write it: a part is shown as its kind, ranges and modules are left out."""
    for mark in marks:
        if isinstance(mark, Part):
            return mark.kind
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0], inner[1:])
    if origin is Literal:
        return " | ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " | ".join(map(_type, inner))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_type, inner))}]"
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n")[0]
