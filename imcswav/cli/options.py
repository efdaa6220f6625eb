"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

NOT_REPRODUCED = 3
"""Exit code of `imcswav reproduce` when a figure falls short."""
FAILED = 2
"""Exit code of `imcswav ladder` when a rung failed, as of the `imcswav run` that fails."""

RecipeArgument = Annotated[str, typer.Argument(help="A TOML file, or the name of a shipped recipe such as digits.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. trainer.epochs=5.")
]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps …")]


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
