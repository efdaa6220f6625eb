"""Whether this machine can do what ``[trainer]`` asks for: the device, its precision, compiling, recording steps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from importlib.util import find_spec

import torch

from imcswav.devices import pick_device
from imcswav.engine import compiles
from imcswav.errors import ImcswavError, Problem
from imcswav.recipe import TrainerSettings
from imcswav.recipe.salvage import sound

COMPILERS = ("g++", "c++", "clang++", "cl")
"""What torch.compile needs one of on a CPU; CXX names another."""


def check_machine(settings: TrainerSettings, wrong: Iterable[str] = ()) -> list[Problem]:
    """Errors for what can't be had, warnings for what would be left out; ``wrong`` settings aren't looked at."""
    if not sound(wrong, "trainer.device"):
        return []
    try:
        device = pick_device(settings.device)
    except ImcswavError as error:
        return [Problem("trainer.device", str(error), value=settings.device)]
    problems = [
        *_check_precision(settings, device),
        *_check_recording(settings, device),
        *_check_compiler(settings, device),
    ]
    return [problem for problem in problems if sound(wrong, problem.path)]


def _check_precision(settings: TrainerSettings, device: torch.device) -> list[Problem]:
    if settings.precision != "bf16":
        return []
    try:
        with torch.autocast(device.type, torch.bfloat16):
            half_MM = torch.ones(2, 2, device=device)
            half_MM @ half_MM
    except (RuntimeError, TypeError) as error:
        message = f"{device} has no bf16 ({str(error).splitlines()[0]})."
        return [Problem("trainer.precision", message, 'Leave it at "auto".', settings.precision)]
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        message = f"{torch.cuda.get_device_name(device)} only imitates bf16, which is slower than float32."
        return [Problem("trainer.precision", message, 'Leave it at "auto".', settings.precision, severity="warning")]
    return []


def _check_recording(settings: TrainerSettings, device: torch.device) -> list[Problem]:
    if settings.cuda_graph is not True or device.type == "cuda":
        return []
    message = f"steps can only be recorded on CUDA, and this is {device}."
    return [Problem("trainer.cuda_graph", message, 'Leave it at "auto".', settings.cuda_graph)]


def _check_compiler(settings: TrainerSettings, device: torch.device) -> list[Problem]:
    if not compiles(settings.compile, device):
        return []
    if device.type == "cuda":
        lacks = "" if find_spec("triton") else "the package triton"
    else:
        lacks = "" if any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))) else "a C++ compiler such as g++"
    if not lacks:
        return []
    message = f"torch.compile needs {lacks}, which isn't there; steps run without it, and slower."
    return [Problem("trainer.compile", message, "Install it, or set it to false.", settings.compile, "warning")]
