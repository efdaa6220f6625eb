"""The command line with trouble in one rank: trouble_case.py {kill,raise,signal,none} RANK STEP command …

Under torchrun. At that step of the first attempt the rank is killed, raises an error, or gets SIGTERM. A process that
ends well says which of its threads belong to the group of processes still.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from imcswav import cli
from imcswav.engine import Engine
from imcswav.errors import DataError


def main(kind, rank, step, *command):
    torch.set_num_threads(1)
    own_step = Engine.step

    def troubled(self, batch, progress):
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if first and os.environ["RANK"] == rank and progress.step == int(step):
            if kind == "raise":
                raise DataError("The image x.png is gone; bring it back.")
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "signal": signal.SIGTERM, "none": 0}[kind])
        return own_step(self, batch, progress)

    Engine.step = troubled
    try:
        cli.main(list(command))
    except SystemExit as end:
        names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").glob("*")]
        if not end.code:
            line = f"left: {[name for name in names if 'gloo' in name]}\n"
            os.write(2, line.encode())  # in one piece, whatever buffers stderr: the ranks share it
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
