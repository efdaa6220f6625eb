"""Several processes compute what one does: the same codes, losses, gradients and weights at the same global batch."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CASE = Path(__file__).with_name("equal_case.py")


def trained(ranks, file, device="cpu"):
    """What ``equal_case.py`` writes, by so many processes."""
    elastic = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command = [sys.executable, *elastic, CASE, file, device]
    env = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return torch.load(file, map_location="cpu")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(1, tmp_path_factory.mktemp("ranks") / "1.pt")


def largest(x, y):
    found = float((x.double() - y.double()).abs().max()) if x.numel() else 0.0
    return found if math.isfinite(found) else math.inf  # max() passes over what is no number


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_train_as_one_process(alone, tmp_path, ranks):
    compare(alone, trained(ranks, tmp_path / "many.pt"), ranks)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_ranks_on_gpus_train_as_one_process(tmp_path):
    compare(trained(1, tmp_path / "1.pt", "cuda"), trained(2, tmp_path / "2.pt", "cuda"), 2)


def compare(alone, together, ranks):
    found = {"codes": 0.0, "losses": 0.0, "gradients": 0.0, "state": 0.0, "features": 0.0}
    for name, one in alone.items():
        many = together[name]
        assert torch.equal(one["index"], many["index"])
        assert one["gradients"].keys() == many["gradients"].keys()
        assert one["state"].keys() == many["state"].keys()
        pairs = {
            "codes": zip(one["codes"], many["codes"], strict=True),
            "losses": [
                (torch.tensor([value, many["losses"][key]], dtype=torch.float64).unbind())
                for key, value in one["losses"].items()
            ],
            "gradients": [(value, many["gradients"][key]) for key, value in one["gradients"].items()],
            "state": [(value, many["state"][key]) for key, value in one["state"].items()],
            "features": [(one["features"], many["features"])],
        }
        for what, compared in pairs.items():
            found[what] = max(found[what], *(largest(x, y) for x, y in compared), 0.0)
        assert one["logged"] == pytest.approx(many["logged"], abs=1e-6)
    print(f"{ranks} ranks, largest differences:", found)
    assert found["codes"] < 1e-6
    assert found["losses"] < 1e-6
    assert found["gradients"] < 1e-5
    assert found["state"] < 1e-8
    assert found["features"] < 1e-6
