"""The command line. Every command is thin, and imports what it needs only when it runs."""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from imcswav import __version__
from imcswav.errors import ImcswavError

DONE, DEFECT, MISTAKE, INTERRUPTED = 0, 1, 2, 130
STOPPED = "Stopped."

# newer typers carry a copy of click, older ones import it: this is the base of its usage errors in both
UsageMistake: Any = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

RecipeArgument = Annotated[str, typer.Argument(help="A TOML file, or the name of a shipped recipe such as digits.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. trainer.epochs=5.")
]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps …")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"imcswav {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Cluster images without labels: self-supervised training by recipe.

    Exit codes: 0 done, 2 a mistake in what was asked, 1 a defect of imcswav, 130 stopped by Ctrl-C.
    """


@app.command()
def run(
    recipe: RecipeArgument,
    changes: SetOption = [],  # noqa: B006 (typer copies it)
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this recipe's latest unfinished run.")] = False,
    out: Annotated[Path | None, typer.Option(help="Run folder, new or empty (default runs/<name>/<time>).")] = None,
    device: DeviceOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
) -> None:
    """Train by a recipe, evaluate, and write a run folder."""
    from imcswav import api, console
    from imcswav.recipe_files import load_recipe
    from imcswav.runs import RunFolder

    overrides = list(changes)
    overrides += [f"trainer.device={device}"] if device is not None else []
    overrides += [f"seed={seed}"] if seed is not None else []
    if resume:
        if out is not None:
            raise ImcswavError("--resume and --out can't go together; name the folder: imcswav resume RUN.")
        console.finished(api.resume(RunFolder.latest_unfinished(load_recipe(recipe, overrides)).path))
    else:
        console.finished(api.run(recipe, overrides, out=out, warn=console.warn))


@app.command()
def resume(run: RunArgument, device: DeviceOption = None) -> None:
    """Go on with an interrupted run from its newest checkpoint."""
    from imcswav import api, console
    from imcswav.runs import RunFolder

    before = RunFolder.open(run).finished
    console.finished(api.resume(run, device=device), before)


@app.command()
def check(recipe: RecipeArgument, changes: SetOption = []) -> None:  # noqa: B006
    """Find everything that `run` would refuse, and say what a run would cost."""
    from imcswav import console
    from imcswav.check import check_recipe, raise_errors
    from imcswav.cost import estimate
    from imcswav.recipe_files import load_recipe, placed

    loaded = load_recipe(recipe, changes)
    for problem in raise_errors(recipe, placed(check_recipe(loaded), recipe, changes)):
        console.warn(problem)
    console.costs(loaded, estimate(loaded))


@app.command("list")
def list_components(kind: Annotated[str | None, typer.Argument(help="Only this kind, e.g. loss.")] = None) -> None:
    """List the components that recipes can name, and the package each came from; `list recipe`: shipped recipes."""
    from imcswav import console

    console.components(kind)


@app.command()
def show(
    kind: Annotated[str, typer.Argument(help="A kind, e.g. loss; or recipe, trainer, predict, evaluation.")],
    name: Annotated[str | None, typer.Argument(help="The component's name; left out: all of the kind.")] = None,
) -> None:
    """Every setting of a component: type, default, range, meaning; its source; its package."""
    from imcswav import console

    console.component(kind, name)


@app.command()
def evaluate(run: RunArgument, device: DeviceOption = None) -> None:
    """Score a run's saved model on its data again."""
    from imcswav import api, console

    console.scores(api.evaluate(run, device=device or "auto"))


@app.command()
def predict(
    run: RunArgument,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="CSV file to write; refused if it exists.")] = Path("labels.csv"),
    device: DeviceOption = None,
) -> None:
    """Assign images to the clusters of a run; unreadable ones are listed apart."""
    from imcswav import console
    from imcswav.predict import predict_files

    console.predicted(predict_files(run, images, out, device=device or "auto"))


@app.command()
def bench(
    recipe: RecipeArgument,
    changes: SetOption = [],  # noqa: B006
    against: Annotated[str | None, typer.Option(help="loop: also a plain loop, alternated; results compared.")] = None,
    suite: Annotated[bool, typer.Option("--suite", help="Also variants, growth, evaluation time, a profile.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of --against.")] = 9,
    batch: Annotated[int | None, typer.Option(min=2, help="Images a step; on a CPU 32 at most by default.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Also compare the augmentation compiled.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write every figure to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the suite's growth into this PNG.")] = None,
    device: DeviceOption = None,
) -> None:
    """Measure a recipe's training step: time and its shares, operations, memory; nothing is trained or kept."""
    from imcswav.bench.run import bench as measure

    overrides = [*changes, *([f"trainer.device={device}"] if device is not None else [])]
    measure(
        recipe, overrides, against=against, with_suite=suite, rounds=rounds, batch=batch, compiled=compiled,
        json_file=json, markdown_file=markdown, plot_file=plot,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    formatted = warnings.formatwarning
    warnings.formatwarning = _as_sentence
    try:
        sys.exit(_run([word for word in given if word != "--debug"], debug))
    finally:
        warnings.formatwarning = formatted


def _as_sentence(message: Warning | str, *place: Any, **line: Any) -> str:
    """A warning as its sentence alone: the place in the code tells a user nothing."""
    return f"Warning: {message}\n"


def _run(arguments: list[str], debug: bool) -> int:
    try:
        # without standalone mode typer returns the code of what it took for an exit, Ctrl-C among them
        code = app(arguments, standalone_mode=False)
    except UsageMistake as error:
        error.show()
        return MISTAKE
    except (KeyboardInterrupt, typer.Abort):
        print(STOPPED, file=sys.stderr)
        return INTERRUPTED
    except ImcswavError as error:
        if debug:
            traceback.print_exc()
        print(error, file=sys.stderr)
        return MISTAKE
    except Exception as error:
        if debug:
            traceback.print_exc()
        hint = "" if debug else " Run again with --debug and report the traceback."
        print(f"A defect of imcswav: {type(error).__name__}: {error}.{hint}", file=sys.stderr)
        return DEFECT
    if code == INTERRUPTED:
        print(STOPPED, file=sys.stderr)
    return code if isinstance(code, int) else DONE
