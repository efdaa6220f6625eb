"""Commands that train: run, resume, reproduce, ladder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imcswav.cli.options import FAILED, NOT_REPRODUCED, DeviceOption, RecipeArgument, RunArgument, SetOption, ladders
from imcswav.errors import ImcswavError

if TYPE_CHECKING:
    from imcswav.recipe.merge import Overrides

SeedsOption = Annotated[
    str | None, typer.Option(metavar="LIST", help="Several seeds, one run after another: 0-4, 0,3,7 or 0-2,5.")
]
KeepOption = Annotated[
    str | None,
    typer.Option(metavar="best", help="With --seeds: name the best run, chosen without labels; the others stay."),
]
KeepByOption = Annotated[
    str | None,
    typer.Option(metavar="SIGNAL", help="The signal that --keep chooses by (default seed_agreement), e.g. silhouette."),
]
DevicesOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Train with N processes on this machine, on a GPU each if there are some."),
]
OutOption = Annotated[Path | None, typer.Option(help="Run folder, new or empty (default runs/<name>/<time>).")]


def run(
    recipe: RecipeArgument,
    changes: SetOption = [],  # noqa: B006 (typer copies it)
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this recipe's latest unfinished run.")] = False,
    out: OutOption = None,
    device: DeviceOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    seeds: SeedsOption = None,
    keep: KeepOption = None,
    keep_by: KeepByOption = None,
    devices: DevicesOption = None,
) -> None:
    """Train by a recipe, evaluate, and write a run folder; with --seeds one for each, and their mean ± deviation.

    Several processes: --devices N here, or torchrun --nproc-per-node N -m imcswav run RECIPE, on several machines too.
    """
    from imcswav import api, console, launch
    from imcswav.recipe.files import load_recipe

    if seeds is None and (keep is not None or keep_by is not None):
        raise ImcswavError("--keep and --keep-by choose among several runs; give their seeds by --seeds.")
    overrides = [*changes, *([f"trainer.device={device}"] if device is not None else [])]
    if launch.wanted(devices):
        if seeds is not None:
            raise ImcswavError(launch.SERIES)
        flags = {"--out": out, "--device": device, "--seed": seed}
        words = ["run", recipe, *(word for change in changes for word in ("--set", change)), *_given(flags)]
        place = load_recipe(recipe, overrides).trainer.device
        sys.exit(launch.launch(devices or 1, [*words, *(["--resume"] if resume else [])], place))
    launch.join()
    if seeds is not None:
        if seed is not None:
            raise ImcswavError("--seed and --seeds can't go together; write every seed behind --seeds.")
        return _run_seeds(recipe, overrides, seeds, out, resume, _signal(keep, keep_by))
    given: Overrides = overrides if seed is None else [*overrides, {"seed": seed}]
    if resume and out is not None:
        raise ImcswavError("--resume and --out can't go together; name the folder: imcswav resume RUN.")
    if (begun := launch.to_go_on_with(lambda: load_recipe(recipe, given), out, resume)) is not None:
        return launch.told(console.finished, api.resume(begun, device=device, overrides=changes))
    return launch.told(console.finished, api.run(recipe, given, out=out, warn=console.warn))


def resume(run: RunArgument, device: DeviceOption = None, devices: DevicesOption = None) -> None:
    """Go on with an interrupted run from its newest checkpoint, or with a folder of several seeds."""
    from imcswav import api, console, launch
    from imcswav.results.seeds import resume_seeds
    from imcswav.results.series import is_series
    from imcswav.runs import RunFolder

    if is_series(run) and (launch.wanted(devices) or launch.launched() > 1):
        raise ImcswavError(launch.SERIES)
    if launch.wanted(devices):
        place = device or RunFolder.open(run).recipe().trainer.device
        sys.exit(launch.launch(devices or 1, ["resume", str(run), *_given({"--device": device})], place))
    launch.join()
    if is_series(run):
        from imcswav.results import tables

        return tables.seeds(resume_seeds(run, device, tell=tables.tell))
    before = RunFolder.open(run).finished
    return launch.told(console.finished, api.resume(run, device=device), before)


def reproduce(
    recipe: RecipeArgument,
    changes: SetOption = [],  # noqa: B006
    seeds: SeedsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this recipe's newest runs with seeds.")] = False,
    out: OutOption = None,
    device: DeviceOption = None,
) -> None:
    """Run a recipe and compare its figures with its [expected] table; exit code 3 when one falls short.

    Without --seeds, the seeds that the table names are run, else the recipe's own. The mean of n runs may fall short of
    an expected figure by max(tolerance, 3 · std · sqrt(1 / runs + 1 / n)): tolerance, std and runs are the table's.
    Figures above that pass too, and are called so.
    """
    from imcswav import console
    from imcswav.results import tables
    from imcswav.results.reproduction import reproduce as compare

    overrides = [*changes, *([f"trainer.device={device}"] if device is not None else [])]
    done = compare(recipe, overrides, seeds, out, warn=console.warn, resume=resume, tell=tables.tell)
    tables.reproduction(done)
    if not done.passed:
        raise typer.Exit(NOT_REPRODUCED)


def ladder(
    folder: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A folder of recipes, or a shipped ladder's name.", autocompletion=ladders),
    ],
    seeds: Annotated[str, typer.Option(metavar="LIST", help="Seeds of every rung: 0-4, 0,3,7 or 0-2,5.")],
    changes: SetOption = [],  # noqa: B006
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in --out, or in this ladder's newest folder.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder, new or empty (default runs/<ladder>/<time>).")] = None,
    device: DeviceOption = None,
) -> None:
    """Run recipes that extend one another by one change each, and tell what each change brought.

    The rungs are the *.toml of a folder in the order of their names. Each is run with every seed and compared with the
    one that it extends, else the one before it, paired by seed. A rung that fails is reported, and the others go on;
    the exit code then is 2. A rung with [init] rung = "NAME" starts from the same seed's run of that rung.
    """
    from imcswav import console
    from imcswav.results import tables
    from imcswav.results.ladder import run_ladder

    overrides = [*changes, *([f"trainer.device={device}"] if device is not None else [])]
    result = run_ladder(folder, seeds, overrides, out, warn=console.warn, resume=resume, tell=tables.tell)
    tables.ladder(result)
    if result.failed:
        raise typer.Exit(FAILED)


def _given(flags: Mapping[str, object]) -> list[str]:
    """The options that were given, as words."""
    return [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]


def _signal(keep: str | None, keep_by: str | None) -> str | None:
    """The signal to choose by; None where nothing is to be chosen."""
    from imcswav.results.kept import DEFAULT

    if keep not in (None, "best"):
        raise ImcswavError(f"--keep can only be 'best', not '{keep}'; which signal says what is best, --keep-by names.")
    if keep is None and keep_by is not None:
        raise ImcswavError("--keep-by says by which signal --keep chooses; add --keep best.")
    return None if keep is None else keep_by or DEFAULT


def _run_seeds(
    recipe: str, overrides: list[str], seeds: str, out: Path | None, resume: bool, keep_by: str | None
) -> None:
    from imcswav import console
    from imcswav.results import tables
    from imcswav.results.seeds import run_seeds

    done = run_seeds(recipe, seeds, overrides, out, warn=console.warn, resume=resume, tell=tables.tell, keep_by=keep_by)
    tables.seeds(done)
