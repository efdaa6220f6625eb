"""Hardware that isn't there, and places that can't be written."""

import json
import os

import torch
from error_case import case


@case("hardware", "a device that there is none of", "Device 'abacus'", vague=r"(?<=here \().*(?=\);)")
def _abacus(at):
    return "run my.toml --device abacus"


@case("hardware", "CUDA where there is none", "Device 'cuda:99'", vague=r"(?<=here \().*(?=\);)")
def _cuda(at):
    return "run my.toml --device cuda:99"


@case("hardware", "the same to predict with", "Device 'cuda:99'", vague=r"(?<=here \().*(?=\);)")
def _predict(at):
    return "predict run photos --device cuda:99"


@case("hardware", "a precision that there is none of", "'bf16'")
def _precision(at):
    return "check my.toml --set trainer.precision=fp16"


@case("hardware", "no threads", "at least 1")
def _threads(at):
    return "check my.toml --set trainer.threads=0"


@case("hardware", "the step is to be recorded where there is no CUDA", "cuda_graph")
def _graph(at):
    return "run my.toml --set trainer.cuda_graph=true --out new"


@case("hardware", "a device that runs out of memory", "memory", leaves="^new")
def _memory(at):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    at.patch.setattr("imcswav.engine.Engine.step", full)
    return "run my.toml --out new"


@case("hardware", "main memory that runs out", "memory", leaves="^new")
def _main_memory(at):
    def full(*_):
        raise MemoryError

    at.patch.setattr("imcswav.engine.Engine.step", full)
    return "run my.toml --out new"


@case("file system", "a folder of results that is filled", "nothing is overwritten")
def _filled(at):
    return "run my.toml --out photos"


@case("file system", "a file in place of the folder of results", "not an empty folder")
def _file(at):
    return "run my.toml --out my.toml"


@case("file system", "a folder below a file", "can't be written")
def _below(at):
    return "run my.toml --out my.toml/run"


@case("file system", "a name that is too long", "can't be looked at")
def _long(at):
    return f"run my.toml --out {'x' * 300}"


@case("file system", "a path with a zero byte", "Invalid value for '--out'", vague=r"(?<=': ).*")
def _zero(at):
    return "run my.toml --out 'new\0'"


@case("file system", "a folder that can't be written", "can't be written")
def _read_only(at):
    def refused(path, *_, **__):
        raise OSError(30, "Read-only file system", str(path))

    at.patch.setattr("pathlib.Path.mkdir", refused)
    return "run my.toml --out new"


@case("file system", "a disk that gets full while training", "make room", leaves="^new")
def _full(at):
    def full(*_):
        raise OSError(28, "No space left on device")

    at.patch.setattr("imcswav.checkpoint.write_atomically", full)
    return "run my.toml --out new"


@case("file system", "a disk that is full when results are written", "No space left")
def _full_results(at):
    def full(*_):
        raise OSError(28, "No space left on device")

    at.patch.setattr("imcswav.files.os.fsync", full)
    return "predict run photos"


@case("file system", "a run that another process works in", "is in use by process")
def _locked(at):
    from imcswav import lock

    at.unfinished()
    owner = lock._me() | {"thread": 1}
    at.write("run/run.lock", json.dumps(owner))
    return "resume run"


@case("file system", "a run that another machine works in", "remove run/run.lock")
def _locked_elsewhere(at):
    from imcswav import lock

    at.unfinished()
    at.write("run/run.lock", json.dumps(lock._me() | {"host": "elsewhere", "pid": 7}))
    return "resume run"


@case("file system", "a table that exists", "is not overwritten")
def _exists(at):
    at.write("labels.csv", "mine")
    return "predict run photos"


@case("file system", "a table in a folder that isn't there", "does not exist")
def _no_folder(at):
    return "predict run photos --out gone/labels.csv"


@case("file system", "results among the images", "would be taken for images")
def _inside(at):
    return "cluster photos -k 2 --from-scratch --out photos/results"


@case("file system", "a folder of images that can't be listed", "can't be listed")
def _listing(at):
    (at.path / "photos" / "locked").mkdir()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    at.patch.setattr(os, "scandir", refuse)
    return "run my.toml"
