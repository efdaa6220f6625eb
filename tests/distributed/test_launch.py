"""Processes that are started, killed, interrupted or fail: what the user sees, and what goes on afterwards."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
from conftest import TINY
from safetensors.torch import load_file

from imcswav import launch
from imcswav.recipe.files import load_recipe
from imcswav.runs import RunFolder

CASE = Path(__file__).with_name("trouble_case.py")
ENV = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR", "COLUMNS": "200"}


@pytest.fixture
def recipe(tmp_path):
    """A file of it."""
    tables = copy.deepcopy(TINY)
    tables["trainer"] |= {"log_every": 2, "batch_size": 128}
    tables["evaluation"] = {"plots": False, "signals": False}
    file = tmp_path / "tiny.toml"
    file.write_text(tomli_w.dumps(tables))
    return file


def started(*words, cwd):
    return subprocess.run([sys.executable, *words], cwd=cwd, env=ENV, capture_output=True, text=True, timeout=300)


def under_torchrun(cwd, kind, rank, step, *command, restarts=0):
    elastic = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", f"--max-restarts={restarts}"]
    return started(*elastic, CASE, kind, rank, step, *map(str, command), cwd=cwd)


def weights(run):
    return load_file(run / "model" / "weights.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def test_a_killed_worker_is_started_anew_and_the_run_goes_on(recipe, tmp_path):
    whole = under_torchrun(tmp_path, "none", "0", "0", "run", recipe, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.count("Run folder") == 1  # one rank speaks
    if sys.platform == "linux":  # a thread of the group that outlives the interpreter may abort the process
        assert whole.stderr.count("left: []") == 2, whole.stderr

    killed = under_torchrun(tmp_path, "kill", "1", "17", "run", recipe, "--out", "killed", restarts=1)
    assert killed.returncode == 0, killed.stderr
    assert "Another process of the run has ended" in killed.stderr
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    rows = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == sorted(set(steps))  # one rank writes, and the part done twice is told once


def test_a_rank_that_raises_stops_all_and_is_told_once(recipe, tmp_path):
    failed = under_torchrun(tmp_path, "raise", "1", "3", "run", recipe, "--out", "run")
    assert failed.returncode != 0
    assert failed.stderr.count("The image x.png is gone; bring it back.") == 1
    assert "Another process" not in failed.stderr
    assert "A defect" not in failed.stderr


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_after_the_same_step(recipe, tmp_path):
    under_torchrun(tmp_path, "none", "0", "0", "run", recipe, "--out", "whole")
    stopped = under_torchrun(tmp_path, "signal", "1", "17", "run", recipe, "--out", "stopped")
    assert stopped.stderr.count("Stopped.") == 1
    assert not (tmp_path / "stopped" / "summary.json").exists()
    resumed = under_torchrun(tmp_path, "none", "0", "0", "resume", "stopped")
    assert resumed.returncode == 0, resumed.stderr
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


@pytest.mark.slow
def test_devices_starts_the_processes_itself(recipe, tmp_path):
    done = started("-m", "imcswav", "run", recipe, "--devices", "2", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Run folder: run") == 1
    wrong = started("-m", "imcswav", "run", recipe, "--devices", "3", "--out", "other", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.count("a batch of 128 can't be shared evenly by 3 processes. Use 126") == 1
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("compare", "a", "b"), "`imcswav compare` is work for one process"),
        (("run", "tiny.toml", "--seeds", "0-1"), "A series of seeds is run by one process"),
        (("run", "tiny.toml", "--set", "trainer.epochz=1"), "is no setting of this table. Did you mean 'epochs'?"),
    ],
)
def test_what_one_process_has_to_do_is_refused_to_several(recipe, tmp_path, command, sentence):
    refused = under_torchrun(tmp_path, "none", "0", "0", *command)
    assert refused.returncode != 0
    assert refused.stderr.count(sentence) == 1


def test_processes_started_anew_go_on_with_a_run_of_their_recipe_only(recipe, tmp_path, monkeypatch):
    asked, other = load_recipe(recipe), load_recipe(recipe, {"clusters": 5})
    RunFolder.create(asked.resolved(), tmp_path / "run")
    assert launch.to_go_on_with(lambda: asked, tmp_path / "run", False) is None
    monkeypatch.setattr(launch, "restarted", lambda: True)
    assert launch.to_go_on_with(lambda: asked, tmp_path / "run", False) == tmp_path / "run"
    assert launch.to_go_on_with(lambda: other, tmp_path / "run", False) is None  # which is refused, for it is filled


def test_what_is_to_be_kept_is_refused_before_processes_are_started(recipe, tmp_path):
    told = started("-m", "imcswav", "run", recipe, "--devices", "2", "--keep", "best", cwd=tmp_path)
    assert (told.returncode, told.stderr.count("--keep and --keep-by choose among several runs")) == (2, 1)
