"""One long run in a process of its own, watched: ``python soak_case.py KIND FOLDER EPOCHS``.

The kind is "memory" or "stream": 40 small images as an array, or as files decoded anew in every epoch. Prints as JSON
what was seen at the end of every tenth epoch, no checkpoint being under way, and of some epochs how many functions
were called: seconds say little on a machine shared with others.
"""

import copy
import json
import os
import sys
import threading
import time
from pathlib import Path

EVERY = 10
COUNTED = 5
"""Calls are counted in the epochs whose number ends in 5: after the others the networks are evaluated."""


def resident():
    """Memory in use, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def read_so_far():
    """Bytes that this process has read from files."""
    return int(Path("/proc/self/io").read_text().split()[1])


def sample(trainer):
    trainer.checkpoints.wait()
    return {
        "epoch": trainer.epoch,
        "resident": resident(),
        "handles": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "read": read_so_far(),
        "cpu_seconds": time.process_time(),
        "checkpoints": len(list(trainer.run.checkpoints.iterdir())),
        "files": len(list(trainer.run.path.rglob("*"))),
    }


class Watch:
    """Called in place of ``trainer.call``."""

    def __init__(self, trainer):
        self.trainer, self.call, self.samples, self.calls, self.count = trainer, trainer.call, [], {}, 0

    def __call__(self, hook, *arguments):
        self.call(hook, *arguments)
        if hook != "end_epoch":
            return
        sys.setprofile(None)
        epoch = self.trainer.epoch
        if epoch % EVERY == COUNTED + 1:
            self.calls[epoch] = self.count
        if epoch % EVERY == 0:
            self.samples.append(sample(self.trainer))
        if epoch % EVERY == COUNTED:
            self.count = 0
            sys.setprofile(self.add)

    def add(self, frame, event, argument):
        self.count += event in ("call", "c_call")


def images(kind, folder):
    from PIL import Image
    from tiny import blobs

    from imcswav.data.array import ArrayData

    pixels, labels = blobs()
    if kind == "memory":
        return ArrayData.of(pixels, labels=labels), {}
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        (folder / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "images" / str(label) / f"{number}.png")
    data = {"name": "image_folder", "root": str(folder / "images"), "size": 8, "placement": "stream"}
    return None, {"data": data}


def main(kind, folder, epochs):
    import torch
    from conftest import TINY
    from tiny import short

    from imcswav.api import complete, prepare

    torch.set_num_threads(1)
    data, changes = images(kind, Path(folder))
    settings = short(copy.deepcopy(TINY), epochs=int(epochs), batch_size=20) | changes
    settings["callbacks"] = {"console": {"enabled": False}}  # the rest as by default, TensorBoard among them
    trainer = prepare(settings, (), Path(folder) / "run", data, None)
    trainer.call = watch = Watch(trainer)
    result = complete(trainer)
    written = {
        str(path.relative_to(result.path)): path.stat().st_size for path in result.path.rglob("*") if path.is_file()
    }
    rows = len((result.path / "metrics.jsonl").read_text().splitlines())
    print(json.dumps({"samples": watch.samples, "calls": watch.calls, "written": written, "rows": rows}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main(*sys.argv[1:])
