"""`imcswav doctor`: what is installed, what it can compute on, which plugins there are, and where room is left.

A report, not a test: whatever is missing or broken becomes a line of it.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from itertools import zip_longest
from pathlib import Path

from imcswav import __version__
from imcswav.files import existing

Rows = list[tuple[str, ...]]


def doctor() -> None:
    """Print the report; raises nothing for what it finds."""
    for title, section in (("Versions", versions), ("Devices", devices), ("Room", room), ("Plugins", plugins)):
        print(title)
        try:
            print(_aligned(section()))
        except Exception as error:  # torch can't be imported, say: the rest may still help
            print(f"  not known: {_reason(error)}")
        print()
    for name in ("IMCSWAV_PLUGINS", "IMCSWAV_CACHE"):
        if name in os.environ:
            print(f"{name} is set: '{os.environ[name]}'")


def _aligned(rows: Rows) -> str:
    """Columns as wide as they have to be; a row of one column is a sentence and counts for none."""
    widths = [max(map(len, column)) for column in zip_longest(*(row for row in rows if len(row) > 1), fillvalue="")]
    lines = ["  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=False)) for row in rows if row[1:]]
    return "\n".join([*(f"  {line.rstrip()}" for line in lines), *(row[0] for row in rows if not row[1:])])


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def versions() -> Rows:
    """imcswav, Python, the system, and every library that imcswav needs."""
    own: Rows = [
        ("imcswav", f"{__version__} ({Path(__file__).parent})"),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", platform.platform()),
    ]
    return own + [(name, _version(name, asked)) for name, asked in _required()]


def _required() -> Iterator[tuple[str, str]]:
    """Libraries with the versions asked for, as the installed package names them."""
    try:
        lines = metadata.requires("imcswav") or []
    except metadata.PackageNotFoundError:  # a checkout on the path
        lines = []
    for line in lines:
        if (match := re.match(r"([A-Za-z0-9._-]+)\s*([^;]*)(;.*)?$", line)) and "extra ==" not in (match[3] or ""):
            yield match[1], match[2].strip()


def _version(name: str, asked: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"not installed (needed: {asked or 'any version'}); pip install '{name}{asked}'"


def devices() -> Rows:
    """What torch can compute on."""
    import torch

    from imcswav.imaging.placement import available_memory, size

    rows: Rows = []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows += [("cpu", f"{cores} cores, {torch.get_num_threads()} threads, {size(available_memory())} memory available")]
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        rows.append((f"cuda:{index}", f"{name}, {size(free)} of {size(total)} memory free"))
    if len(rows) == 1:
        built = torch.version.cuda
        rows.append(("cuda", f"none found (torch is built for CUDA {built})" if built else "torch is built without it"))
    rows.append(("mps", "available" if torch.backends.mps.is_available() else "none"))
    return rows


def room() -> Rows:
    """The decoded cache with its size, and what is free there and here."""
    from imcswav.imaging.decoded_cache import cache_root
    from imcswav.imaging.placement import size

    cache, here = cache_root(), Path.cwd()
    taken = f"{size(_taken(cache))} taken" if cache.is_dir() else "not there yet"
    return [
        ("decoded cache", f"{cache}: {taken}, {size(_free(cache))} free"),
        ("working folder", f"{here}: {size(_free(here))} free"),
    ]


def _taken(folder: Path) -> int:
    """Bytes on disk of all files; the cache's are sparse."""
    found = [path.lstat() for path in folder.rglob("*")]
    return sum(getattr(one, "st_blocks", -(-one.st_size // 512)) * 512 for one in found)


def _free(folder: Path) -> int:
    """Bytes free where the folder is or would be made."""
    return shutil.disk_usage(existing(folder)).free


def plugins() -> Rows:
    """Every other package that offers components: whether it is loaded, with what, and a sentence on why not."""
    from imcswav.plugins import discover

    found = discover().plugins
    rows: Rows = []
    for plugin in found:
        loaded = plugin.classes if plugin.state == "loaded" else []
        offered = ", ".join(f"{cls.kind} '{cls.name}'" for cls in loaded)
        rows.append((plugin.package or plugin.name, plugin.version, plugin.state, offered))
    sentences = [plugin.problem or plugin.reason for plugin in found]
    return [*rows, *((sentence,) for sentence in sentences if sentence)] or [("  none installed",)]
