"""What a figure needs to be believed: versions, git commit of the source, hardware, command and seed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pydantic", "pluggy", "pillow")
SOURCE = Path(__file__).parent


def environment(seed: int) -> dict[str, Any]:
    """Versions, git commit of the source, hardware and seed: what a figure needs to be believed."""
    import torch

    from imcswav import __version__

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "imcswav": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda,
        **_source(),
        "command": sys.argv,
        "seed": seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def continued_environment(known: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The environment a run began in, with what is another ``now`` as the last entry of its list "resumed".

    An entry has the time and what changed since the entry before. Nothing is added where only the time did.
    """
    resumed: list[dict[str, Any]] = known.get("resumed", [])
    last = {key: value for part in (known, *resumed) for key, value in part.items()}
    changed = {key: value for key, value in now.items() if key != "started" and (key not in last or last[key] != value)}
    if not changed:
        return dict(known)
    return {**known, "resumed": [*resumed, {"started": now["started"], **changed}]}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # there, but under another name: a vendor's build
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _source() -> dict[str, Any]:
    """The commit of the package's own repository, and whether its files differ from it; null where there is none.

    An installed package may lie inside somebody else's repository: only one that tracks its files counts.
    """
    commit = _git("rev-parse", "HEAD") if _git("ls-files", "--error-unmatch", "__init__.py") else None
    changes = _git("status", "--porcelain", "--", ".") if commit else None
    return {"git_commit": commit or None, "git_dirty": None if changes is None else bool(changes)}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, cwd=SOURCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
