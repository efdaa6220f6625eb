"""The command that corrects a finished run's clusters: edit, with a command for each kind of edit."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imcswav.cli.options import Group, RunArgument

if TYPE_CHECKING:
    from imcswav.clustering.edits import Edited

ClusterArgument = Annotated[int, typer.Argument(help="Number of a cluster, as in clusters.csv.")]


def edit(context: typer.Context, run: RunArgument) -> None:
    """Correct the clusters of a finished run: imcswav edit RUN merge 3 7.

    Each edit is recorded in RUN/model/edits.json; labels.csv and clusters.csv are written anew, and `imcswav predict`
    follows. A file that you changed is kept beside as NAME.yours-1. Help on one of the commands: imcswav edit RUN
    merge --help.
    """
    context.obj = run


def merge(
    context: typer.Context,
    clusters: Annotated[list[int], typer.Argument(help="Numbers of two clusters or more; the first one's stays.")],
) -> None:
    """Make one cluster of several. Clusters keep their numbers for good: those of the others vanish."""
    _make(context, "merge", clusters=clusters)


def split(
    context: typer.Context,
    cluster: ClusterArgument,
    into: Annotated[int, typer.Option(min=2, help="Number of parts.")] = 2,
) -> None:
    """Split a cluster by its features; the largest part keeps the number, the others get the next free ones."""
    _make(context, "split", cluster=cluster, into=into)


def rename(
    context: typer.Context,
    cluster: ClusterArgument,
    name: Annotated[str, typer.Argument(help='Its name; "" takes it away.')],
) -> None:
    """Give a cluster a name, which tables and page show."""
    _make(context, "rename", cluster=cluster, name=name)


def drop_outliers(
    context: typer.Context,
    below: Annotated[float, typer.Option(min=0, max=1, help="Confidence that is too small; 0 drops none.")],
) -> None:
    """Take images of little confidence out of all clusters: they are in cluster -1, and so are new images like them."""
    _make(context, "drop_outliers", below=below)


def refit(context: typer.Context) -> None:
    """Train a head on the corrected labels, and say how the assignment changed; images set by hand count ten times."""
    _make(context, "refit")


def apply(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON file that the page of the run made.")],
) -> None:
    """Make the edits that were marked on the run's page: all of them, or none where one can't be made."""
    from imcswav.clustering.edits import apply_file

    _tell(apply_file(context.obj, file))


def undo(
    context: typer.Context,
    count: Annotated[int, typer.Argument(min=1, help="How many edits.")] = 1,
) -> None:
    """Take the last edits back."""
    from imcswav.clustering.edits import undo as take_back

    _tell(take_back(context.obj, count), "Taken back: ")


def history(context: typer.Context) -> None:
    """List the edits of the run, first to last."""
    from imcswav import console
    from imcswav.clustering.edits import history as edits_of
    from imcswav.clustering.edits import state_of

    edits = edits_of(context.obj)
    for number, one in enumerate(edits, 1):
        console.out.print(f"{number}  {one.when}  {one.command()}: {one.said}", soft_wrap=True)
    if not edits:
        console.out.print(f"{context.obj} has no edits.", soft_wrap=True)
    run = shlex.quote(str(context.obj))
    told = f'State {state_of(context.obj)}, the "base" of a file for imcswav edit {run} apply.'
    console.out.print(told, soft_wrap=True)


GROUP = Group(
    edit,
    {
        "merge": merge,
        "split": split,
        "rename": rename,
        "drop-outliers": drop_outliers,
        "refit": refit,
        "apply": apply,
        "undo": undo,
        "list": history,
    },
)


def _make(context: typer.Context, op: str, **settings: Any) -> None:
    from imcswav.clustering.edits import edit as make
    from imcswav.clustering.edits.kept import parsed

    _tell(make(context.obj, *parsed([{"op": op, **settings}], "The edit")))


def _tell(done: Edited, before: str = "") -> None:
    """A line for each edit, then the files."""
    from imcswav import console

    for one in done.edits:
        console.out.print(f"{before}{one.command() if before else one.said}", soft_wrap=True)
    console.out.print(f"Written: {', '.join(map(str, done.files.written))}", soft_wrap=True)
    for path in done.files.aside:
        console.out.print(f"You had changed a file; yours is now {path}", soft_wrap=True)
