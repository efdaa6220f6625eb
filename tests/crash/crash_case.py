"""Runs in processes that die: a program of its own, which forks for each run before torch has made any thread.

``python crash_case.py events CASE FOLDER`` kills a run at each of its writes, flushes, renames and removals in turn.
``python crash_case.py random CASE FOLDER KILLS SEED`` kills runs by SIGKILL at random moments. Both resume, compare
with a run never killed, and print what they counted as JSON; an assertion that fails ends the program.

The case is "tiny", 40 small images, or "digits", the shipped recipe with fewer epochs.
"""

import contextlib
import copy
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

KILLED = 137
CASES = ("tiny", "digits")
OWN = ("tensorboard",)
"""Folders in which every process begins a file of its own."""
EPOCHS = {"events": {"tiny": 2, "digits": 2}, "random": {"tiny": 12, "digits": 30}}


def settings_of(case, what):
    """The recipe as tables, of as many epochs as the test takes."""
    from conftest import TINY
    from tiny import short

    from imcswav.recipe.files import load_recipe

    given = short(copy.deepcopy(TINY)) if case == "tiny" else "digits"
    changes = {"trainer.epochs": EPOCHS[what][case], "trainer.deterministic": True}
    return load_recipe(given, changes | {"trainer.device": "cpu", "evaluation.plots": True}).tables()


def images(settings):
    """Of the tiny case in place of the recipe's."""
    from tiny import blobs

    from imcswav.data.array import ArrayData

    pixels, labels = blobs()
    return ArrayData.of(pixels, labels=labels) if settings["name"] == "tiny" else None


def run(settings, out):
    """Begin a run, or go on with it: what somebody does who calls the same command until it is done."""
    import torch

    import imcswav

    torch.set_num_threads(1)
    data = images(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if (out / "recipe.toml").exists():
            imcswav.resume(out, data=data)
        else:
            imcswav.run(settings, out=out, data=data)


def in_child(work):
    """The pid of a forked process that does ``work`` and ends without any cleaning up."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Countdown:
    """Ends the process in the midst of its n-th event on files, and notes every event's kind in a file."""

    def __init__(self, notes, last):
        self.notes, self.last, self.count = notes, last, 0

    def event(self, kind):
        self.count += 1
        if self.last is None:
            with self.notes.open("a") as file:
                file.write(kind + "\n")
        return self.count == self.last

    def before(self, module, name, kind):
        call = getattr(module, name)

        def wrapped(*arguments, **keywords):
            if self.event(kind):
                os._exit(KILLED)
            return call(*arguments, **keywords)

        setattr(module, name, wrapped)

    def install(self):
        """Death after half of a write, and before a flush, a rename, a link or a removal."""
        from imcswav import callbacks, checkpoint, files, model, runs  # noqa: F401

        self.before(os, "fsync", "flush")
        self.before(os, "replace", "rename")
        self.before(os, "link", "link")
        self.before(os, "unlink", "removal")
        whole = files.write_atomically

        def torn(path, write):
            def half(temporary):
                write(temporary)
                if self.event(f"write {path.name}"):
                    os.truncate(temporary, temporary.stat().st_size // 2)
                    os._exit(KILLED)

            whole(path, half)

        for module in [one for one in sys.modules.values() if getattr(one, "write_atomically", None) is whole]:
            module.write_atomically = torn


def preloaded(work):
    """Do ``work`` in a child, then import what that imported: later children have it from the start."""
    names, there = os.pipe()

    def noting():
        work()
        with os.fdopen(there, "w") as file:
            file.write("\n".join(sys.modules))

    pid = in_child(noting)
    os.close(there)
    with os.fdopen(names) as file:
        modules = file.read().split("\n")
    assert ended(pid) == 0
    for name in modules:
        with contextlib.suppress(Exception):  # some can only be imported by others
            importlib.import_module(name)


def outcome(folder):
    """All that a run ends with, but for times and paths."""
    from imcswav import checkpoint

    state = checkpoint.load_latest(folder / "checkpoints")
    summary = json.loads((folder / "summary.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = {"seconds", "cpu_seconds", "images_per_second", "run"}
    return {
        "state": {key: value for key, value in state.items() if key not in timed},
        "summary": {key: value for key, value in summary.items() if key not in timed},
        "metrics": [{key: value for key, value in row.items() if key not in timed} for row in rows],
        "weights": (folder / "model" / "weights.safetensors").read_bytes(),
        "config": (folder / "model" / "config.json").read_text(),
        "assignments": (folder / "assignments.csv").read_text(),
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.parent.name not in OWN),
    }


def same(one, other):
    import torch

    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def check(folder, expected, where):
    found = outcome(folder)
    for key, value in expected.items():
        assert same(value, found[key]), (
            where,
            key,
            value if key in ("files", "metrics", "summary") else "",
            found[key],
        )
    shutil.rmtree(folder)


def at_each_event(folder, settings):
    whole, notes = folder / "whole", folder / "events.txt"

    def counted(last, out):
        Countdown(notes, last).install()
        run(settings, out)

    preloaded(lambda: run(settings, folder / "first"))
    assert ended(in_child(lambda: counted(None, whole))) == 0
    expected, events = outcome(whole), notes.read_text().split("\n")[:-1]
    for number, kind in enumerate(events, 1):
        out = folder / f"run-{number}"
        assert ended(in_child(lambda n=number, to=out: counted(n, to))) == KILLED, kind
        assert ended(in_child(lambda to=out: run(settings, to))) == 0, (number, kind)
        check(out, expected, (number, kind))
    return {"kills": len(events), "kinds": sorted(set(events))}


def at_random(folder, settings, kills, seed):
    moments, out, count, runs, resumed = random.Random(seed), folder / "run", 0, 0, 0
    preloaded(lambda: run(settings, folder / "first"))
    began = time.monotonic()
    assert ended(in_child(lambda: run(settings, folder / "whole"))) == 0
    seconds, expected = time.monotonic() - began, outcome(folder / "whole")
    while count < kills or out.exists():
        pid = in_child(lambda: run(settings, out))
        if count < kills:
            time.sleep(moments.uniform(0, 0.5 * seconds))
            os.kill(pid, signal.SIGKILL)
        code = ended(pid)
        assert code in (0, -signal.SIGKILL), count
        count += code != 0
        resumed += code != 0 and any((out / "checkpoints").glob("step-*.pt"))
        if code == 0:
            check(out, expected, count)
            runs += 1
    return {"kills": count, "within": runs, "with_a_checkpoint": resumed, "steps": expected["summary"]["steps"]}


def without_drawing():
    """Pictures of digits take most of so short a run; that of the tiny case are drawn."""
    from matplotlib.figure import Figure

    Figure.savefig = lambda figure, path, **settings: Path(path).write_bytes(b"A picture.")


def main(what, case, folder, *numbers):
    settings = settings_of(case, what)
    if case == "digits":
        without_drawing()
    done = (
        at_each_event(Path(folder), settings)
        if what == "events"
        else at_random(Path(folder), settings, *map(int, numbers))
    )
    print(json.dumps(done))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main(*sys.argv[1:])
