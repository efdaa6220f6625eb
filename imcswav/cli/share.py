"""Commands that take a model elsewhere: export, push, pull."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from imcswav.cli.options import NOT_REPRODUCED, RunArgument

RepoArgument = Annotated[str, typer.Argument(help="A repository of the hub: owner/name.")]


class Format(StrEnum):
    """What to write."""

    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"
    SAFETENSORS = "safetensors"


def export(
    run: RunArgument,
    format: Annotated[
        Format, typer.Option(help="onnx; torch-export; safetensors: weights and settings, for imcswav.load.")
    ] = Format.ONNX,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; refused if it exists (default model.onnx, .pt2 or .safetensors)."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with torch on images of the run; exit code 3 if one differs.")
    ] = False,
) -> None:
    """Write a run's model as one file that works without imcswav: uint8 images in, features and probabilities out.

    Images come in the model's own size; everything else that is done to them is part of the file.
    """
    from imcswav import console
    from imcswav.export import export_run
    from imcswav.results import tables

    done = export_run(run, format.value, out, check)
    tables.written(done.path)
    if done.check is not None:
        console.out.print(str(done.check), soft_wrap=True)
        if not done.check.passed:
            raise typer.Exit(NOT_REPRODUCED)


def push(
    run: RunArgument,
    repo: RepoArgument,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see a repository that this makes.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Add a commit to a model that is there; its README.md stays.")
    ] = False,
) -> None:
    """Upload a run's model to the Hugging Face hub with a model card: weights, settings and figures, no images.

    Log in first, with `hf auth login` or HF_TOKEN.
    """
    from imcswav import console
    from imcswav.hub import push_run

    console.out.print(f"Pushed: {push_run(run, repo, public, update)}", soft_wrap=True)


def pull(
    repo: RepoArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder, new or empty.")],
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit of the repository.")] = None,
) -> None:
    """Download a model from the Hugging Face hub for `imcswav predict` and imcswav.load; executes nothing of it."""
    from imcswav.hub import pull as fetch
    from imcswav.results import tables

    tables.written(fetch(repo, folder, revision))
