"""Several processes that train together: started here by torch's elastic launcher, or by ``torchrun``.

Imports no torch until something is to be started.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcswav.errors import ImcswavError

if TYPE_CHECKING:
    from imcswav.recipe import Recipe
    from imcswav.runs import RunFolder

SERIES = "A series of seeds is run by one process; start one seed after another, without --seeds."
SHARED = ("run", "resume")
"""Commands that several processes can do together."""


def launched() -> int:
    """How many processes a launcher started along with this one, itself included, by its environment; 1 without."""
    known = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    return int(os.environ["WORLD_SIZE"]) if known else 1


def restarted() -> bool:
    """Whether the launcher started these processes anew after one of them had ended."""
    return launched() > 1 and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def check_command(arguments: Sequence[str]) -> None:
    """Raise ImcswavError when several processes were started for what one has to do."""
    command = next((word for word in arguments if not word.startswith("-")), None)
    if launched() > 1 and command in SHARED and any(word.split("=")[0] == "--seeds" for word in arguments):
        raise ImcswavError(SERIES)
    if launched() > 1 and command is not None and command not in SHARED:
        raise ImcswavError(
            f"`imcswav {command}` is work for one process, and {launched()} were started; several can do "
            f"{' and '.join(SHARED)}: leave torchrun out."
        )


def speaks() -> bool:
    """Whether this process speaks for all that were started, as long as they haven't found each other."""
    return launched() == 1 or os.environ["RANK"] == "0"


def join() -> None:
    """Find the processes that were started along with this one, if there are some: before anything can go wrong."""
    if launched() > 1:
        from imcswav import distributed

        distributed.start()


def wanted(devices: int | None) -> bool:
    """Whether processes are to be started, and weren't yet."""
    return devices is not None and devices > 1 and launched() == 1


def launch(devices: int, words: Sequence[str], device: str | None) -> int:
    """Run a command in ``devices`` processes on this machine; its exit code.

    Raises ImcswavError where there are fewer GPUs, unless ``device`` is the CPU.
    """
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    gpus = torch.cuda.device_count()
    if gpus and device != "cpu" and devices > gpus:
        raise ImcswavError(f"There are {gpus} GPUs for {devices} processes; give --devices {gpus}, or --device cpu.")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the process itself has told
    # time to reach the next log line and save, where this torch can give it
    patience: dict[str, Any] = (
        {"shutdown_timeout": 600} if "shutdown_timeout" in inspect.signature(LaunchConfig).parameters else {}
    )
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=devices, run_id=str(uuid.uuid4()), rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=0, **patience,
    )  # fmt: skip
    debug = ["--debug"] if "--debug" in sys.argv else []
    try:
        elastic_launch(config, sys.executable)("-m", "imcswav", *debug, *words)
    except ChildFailedError as error:
        return max(1, error.get_first_failure()[1].exitcode)
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


def to_go_on_with(recipe: Callable[[], Recipe], out: Path | None, resume: bool) -> Path | None:
    """The run folder to go on with: ``resume`` wants it, or processes were restarted; None to begin a run.

    Raises RunError when none is found that was asked for.
    """
    from imcswav import distributed
    from imcswav.runs import RunFolder

    if not (resume or any(distributed.of_all(restarted()))):  # each machine's launcher counts by itself
        return None
    found: Path | None = None
    asked = recipe()  # in every process, lest the others wait where it can't be loaded
    if distributed.is_main():
        try:
            found = RunFolder.latest_unfinished(asked).path if out is None else _same(RunFolder.open(out), asked)
        except ImcswavError:  # what was restarted may have ended before it made its folder
            if resume:
                raise
    return distributed.from_main(found)


def _same(run: RunFolder, recipe: Recipe) -> Path | None:
    """The folder, where its run is of this recipe: another's isn't gone on with."""
    from imcswav.runs import same_but_for_place

    return run.path if same_but_for_place(run.recipe(), recipe.resolved()) else None


def told(show: Callable[..., object], *arguments: Any) -> None:
    """Show a result once, though all processes have it, and let the others go."""
    from imcswav import distributed

    if distributed.is_main():
        show(*arguments)
    distributed.stop()
