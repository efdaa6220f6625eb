"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

NOT_REPRODUCED = 3
"""Exit code of `imcswav reproduce` when a figure falls short."""
FAILED = 2
"""Exit code of `imcswav ladder` when a rung failed, as of the `imcswav run` that fails."""


def recipes(incomplete: str) -> list[str]:
    """Shipped recipes for a shell to complete; where there is none like it, shells look for files."""
    from imcswav.recipe.sources import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def ladders(incomplete: str) -> list[str]:
    """Shipped ladders."""
    from imcswav.recipe.ladders import ladder_names

    return [name for name in ladder_names() if name.startswith(incomplete)]


def kinds(incomplete: str) -> list[str]:
    """Kinds of parts."""
    from imcswav.component import KINDS

    return [name for name in KINDS if name.startswith(incomplete)]


RecipeArgument = Annotated[
    str,
    typer.Argument(help="A TOML file, or the name of a shipped recipe such as digits.", autocompletion=recipes),
]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. trainer.epochs=5.")
]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.")]
CopyOption = Annotated[Path | None, typer.Option("--copy-to", help="Copy the files there, into one folder a cluster.")]
LinkOption = Annotated[Path | None, typer.Option("--link-to", help="The same with links.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps …")]


def one_target(copy_to: Path | None, link_to: Path | None) -> tuple[Path | None, Literal["copy", "link"]]:
    """Where files are to be put, and how; raises ImcswavError where both are named or something stands there."""
    from imcswav.errors import ImcswavError
    from imcswav.runs import refuse_filled

    if copy_to is not None and link_to is not None:
        raise ImcswavError("--copy-to and --link-to can't go together: give one of them.")
    target = copy_to or link_to
    if target is not None:
        refuse_filled(target, "--copy-to" if copy_to else "--link-to")
    return target, "copy" if copy_to else "link"


@dataclass(frozen=True)
class Group:
    """A command of several: ``imcswav edit RUN merge 3 7``."""

    first: Callable[..., None]
    """Reads what stands before the name of the command; its docstring is the help of the group."""
    commands: Mapping[str, Callable[..., None]]

    def app(self) -> typer.Typer:
        """For typer."""
        app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
        app.callback()(self.first)
        for name, command in self.commands.items():
            app.command(name)(command)
        return app
