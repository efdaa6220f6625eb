"""The command line. Every command is thin, and imports what it needs only when it runs."""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from imcswav import __version__
from imcswav.cli import choose, data, docs, edit, extend, folder, look, measure, report, share, sort, train, use
from imcswav.cli.options import Group
from imcswav.errors import ImcswavError, disk_refused, short_of_memory
from imcswav.launch import check_command, launched, speaks
from imcswav.stopping import Terminated, at_once

DONE, DEFECT, MISTAKE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
STOPPED = "Stopped."
PEER_LOST = "Another process of the run has ended, and with it this one; go on by imcswav resume and the run's folder"

# newer typers carry a copy of click, older ones import it: this is the base of its usage errors in both
UsageMistake: Any = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=HELP,
)  # fmt: skip


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"imcswav {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Cluster images without labels: self-supervised training by recipe.

    Exit codes: 0 done, 2 a mistake in what was asked, 3 figures not reproduced or an exported file that predicts
    otherwise, 1 a defect of imcswav or of a plugin, or the end of a process beside this one or of the one that reads
    the output, 130 stopped by Ctrl-C, 143 by SIGTERM or SIGUSR1.
    """


COMMANDS: dict[str, Callable[..., None] | Group] = {
    "cluster": folder.cluster,
    "run": train.run,
    "resume": train.resume,
    "reproduce": train.reproduce,
    "ladder": train.ladder,
    "check": look.check,
    "list": look.list_components,
    "show": look.show,
    "data": data.data,
    "inspect": data.inspect,
    "evaluate": use.evaluate,
    "predict": use.predict,
    "features": use.features,
    "edit": edit.GROUP,
    "sort": sort.sort,
    "compare": use.compare,
    "signals": use.signals,
    "export": share.export,
    "push": share.push,
    "pull": share.pull,
    "choose-k": choose.choose_k,
    "report": report.report,
    "bench": measure.bench,
    "new": extend.new,
    "doctor": extend.doctor,
    "schema": docs.schema,
    "docs": docs.docs,
}
"""By name, in the order of `imcswav --help`."""
for _name, _command in COMMANDS.items():
    if isinstance(_command, Group):
        app.add_typer(_command.app(), name=_name)
    else:
        app.command(_name)(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # signs that its encoding lacks are told by their numbers
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in given
    formatted = warnings.formatwarning
    warnings.formatwarning = _as_sentence
    if launched() > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch warns that a step may leave out parameters
        if not speaks():
            warnings.simplefilter("ignore")  # the main process shows them
    try:
        with at_once():
            code = _run([word for word in given if word != "--debug"], debug)
        sys.exit(code)
    finally:
        warnings.formatwarning = formatted


def _as_sentence(message: Warning | str, *place: Any, **line: Any) -> str:
    """A warning as its sentence alone: the place in the code tells a user nothing."""
    return f"Warning: {message}\n"


def _run(arguments: list[str], debug: bool) -> int:
    try:
        check_command(arguments)
        # without standalone mode typer returns the code of what it took for an exit, Ctrl-C among them
        code = app(arguments, prog_name="imcswav", standalone_mode=False)  # by `python -m` too: what completes is named
    except UsageMistake as error:
        error.show()
        return MISTAKE
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__context__, EOFError):  # of a file: nothing here asks at the keyboard
            _tell(_defect(error.__context__, debug))
            return DEFECT
        _tell(STOPPED)
        return INTERRUPTED
    except Terminated:
        _tell(STOPPED)
        return TERMINATED
    except ImcswavError as error:
        if debug:
            traceback.print_exc()
        _tell(str(error))
        return MISTAKE
    except Exception as error:
        if debug:
            traceback.print_exc()
        known = short_of_memory(error) or disk_refused(error)
        _tell(f"{PEER_LOST} ({str(error).splitlines()[0]})" if _peer_lost(error) else known or _defect(error, debug))
        return MISTAKE if known else DEFECT
    if code == INTERRUPTED:
        _tell(STOPPED)
    return code if isinstance(code, int) else DONE


def _tell(text: str) -> None:
    """To standard error; of several processes that train together the first to end tells why, for all of them."""
    distributed = sys.modules.get("imcswav.distributed")
    if distributed.may_tell() if distributed is not None else speaks():
        print(text, file=sys.stderr)


def _peer_lost(error: Exception) -> bool:
    distributed = sys.modules.get("imcswav.distributed")
    return distributed is not None and distributed.peer_lost(error)


def _defect(error: Exception, debug: bool) -> str:
    """Whose defect it is, and what to do."""
    plugin, what = "", f"{type(error).__name__}: {error}".rstrip(".")
    if "imcswav.plugins" in sys.modules:  # else none can have run, and what it imports may be what is broken
        from imcswav.blame import culprit

        plugin = culprit(error)
    blamed = f"{plugin} failed: {what}." if plugin else f"A defect of imcswav: {what}."
    recipient = " to its author" if plugin else ""
    return blamed if debug else f"{blamed} Run again with --debug and report the traceback{recipient}."
