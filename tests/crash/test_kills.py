"""Killed runs, resumed, end bit-identical to runs never killed; run with -m slow -s to see the counts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from crash_case import CASES

CASE = Path(__file__).with_name("crash_case.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks"),
    pytest.mark.parametrize("case", CASES),
]
STEPS = {"tiny": (4, 8), "digits": (14, 28)}
"""At the ends of the epochs."""


def killed(*words):
    here = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(CASE.parents[2]),
        "MPLBACKEND": "Agg",
    }
    done = subprocess.run(
        [sys.executable, CASE, *map(str, words)], capture_output=True, text=True, env=os.environ | here, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    return found


def test_once_at_each_write_flush_rename_link_and_removal(case, tmp_path):
    found = killed("events", case, tmp_path)
    written = {
        "recipe.toml", "environment.json", *(f"step-{step:09d}.pt" for step in STEPS[case]),
        "weights.safetensors", "config.json", "assignments.csv", "clusters.png", "confusion.png", "curves.png",
        "summary.json",
    }  # fmt: skip
    assert {f"write {name}" for name in written} | {"flush", "rename", "link", "removal"} <= set(found["kinds"])
    assert found["kills"] >= 4 * len(written)


def test_twenty_times_at_random_moments(case, tmp_path):
    found = killed("random", case, tmp_path, 20, 0)
    assert found["kills"] == 20
    assert found["with_a_checkpoint"] > 0  # else every kill came before there was anything to lose
