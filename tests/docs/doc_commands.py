"""Command lines of a page: parsed, checked, and run where that is cheap."""

import contextlib
import io
import tomllib
from pathlib import Path

import typer
from doc_blocks import ROOT
from doc_world import install

from imcswav import cli
from imcswav.check import check_recipe
from imcswav.errors import ImcswavError
from imcswav.recipe.files import load_recipe
from imcswav.recipe.ladders import find_ladder

EXECUTED = {
    "list",
    "show",
    "check",
    "doctor",
    "resume",
    "evaluate",
    "predict",
    "features",
    "compare",
    "signals",
    "new",
    "inspect",
    "export",
}
SETUP = {"cd", "git", "python3", ".", "ruff", "mypy", "tensorboard", "torchrun"}


def check_command(words, world, complete):
    """A command that can be given; ``complete``: as it stands, so that it is run where that is cheap."""
    program, *rest = words
    if (program, rest[:4]) == ("uv", ["pip", "install", "--torch-backend", "cpu"]):
        program, rest = "pip", ["install", *rest[4:]]
    if program == "pip":
        return check_pip(rest, world.home)
    if program == "pytest":
        given = [word for before, word in zip(("", *rest), rest, strict=False) if before not in ("-m", "-n")]
        return [_there(word) for word in given if not word.startswith("-")]
    if program != "imcswav":
        return _known(program)
    rest = [world.word(word) for word in rest]
    name, settings = parsed(rest, complete)
    if settings.get("recipe"):
        given = settings["recipe"], settings.get("changes", ())
        recipe = load_recipe(*given)
        problems = [problem for problem in check_recipe(recipe) if problem.severity == "error"]
        if recipe.init is not None and recipe.init.rung is not None:  # what it starts from isn't there, as in a ladder
            problems = [problem for problem in problems if not problem.path.startswith("init")]
        if errors := [str(problem) for problem in problems]:
            raise ValueError("; ".join(errors))
        alone = not (settings.get("resume") or settings.get("seeds") or settings.get("devices"))
        if name == "run" and alone and complete:
            return run_once(rest, recipe, world)
    if name == "ladder" and complete:
        for rung in find_ladder(settings["folder"]).rungs.values():
            load_recipe(rung, settings["changes"])
    return run_command(rest) if complete and name in EXECUTED else None


def parsed(words, complete):
    """Name and settings of a command line, by typer; raises its error for a mistake."""
    group = typer.main.get_command(cli.app)
    if list(words) in (["--version"], ["--install-completion"]):
        return words[0], {}
    if not words or words[0] not in group.commands:
        raise ValueError(f"there is no command imcswav {' '.join(words[:1])}")
    try:
        context = group.commands[words[0]].make_context(words[0], list(words[1:]))
        return words[0], context.params | within(context)
    except cli.UsageMistake as error:
        if complete or type(error).__name__ != "MissingParameter":
            raise ValueError(error.format_message()) from None
        return words[0], {}


def within(context):
    """Settings of the command that a group was asked for; none for a single command."""
    if not hasattr(context.command, "commands"):
        return {}
    first = getattr(context, "_protected_args", None) or getattr(context, "protected_args", [])  # click's own name
    name, command, rest = context.command.resolve_command(context, [*first, *context.args])
    return command.make_context(name, rest, parent=context).params


def run_once(words, recipe, world):
    """A training of a small network, cut short; the same command only once, wherever it stands."""
    network = getattr(recipe.learner, "backbone", None)
    again = tuple(words) in world.done and "--out" not in words
    if network is not None and network.owner.name == "small_resnet" and not again:
        world.done.add(tuple(words))
        run_command(words)


def run_command(words):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli._run(list(words), debug=False)
    if code:
        raise ImcswavError(said.getvalue())


def check_pip(words, home):
    """`pip install` of what is in this repository or was just written, with extras that it declares."""
    if words[:1] != ["install"]:
        raise ValueError("pip installs")
    for word in words[1:]:
        name, _, extras = word.partition("[")
        if word.startswith("-") or not (name.startswith(".") or "/" in name or Path(name).is_dir()):
            continue  # an option, or a package of an index
        path = Path(name) if name != "." and Path(name).is_dir() else home / name
        _there(path)
        declared = tomllib.loads((path / "pyproject.toml").read_text())["project"].get("optional-dependencies", {})
        if unknown := set(filter(None, extras.rstrip("]").split(","))) - declared.keys():
            raise ValueError(f"{name} has no extra {', '.join(unknown)}")
        install(path)


def _there(path):
    if not ((ROOT / path).exists() or Path(path).exists() or str(path).isupper()):
        raise ValueError(f"there is no {path}")


def _known(program):
    if program not in SETUP and not (ROOT / program).is_file():
        raise ValueError(f"nothing knows the command {program}; a block of output is `text`")
