"""Two processes that share each batch train a learner without views as one does."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

RECIPE = Path(__file__).parents[1] / "recipes" / "digits_depict.toml"
SHORT = ["trainer.epochs=2", "learner.pretrain_epochs=1", "evaluation.plots=false"]
ENV = os.environ | {"OMP_NUM_THREADS": "1"}


def weights(folder, *more):
    changes = [word for change in SHORT for word in ("--set", change)]
    command = [sys.executable, "-m", "imcswav", "run", str(RECIPE), *changes, "--out", str(folder), *more]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return load_file(folder / "model" / "weights.safetensors")


def test_two_processes_train_as_one(tmp_path):
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two", "--devices", "2")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            two[name], value, rtol=1e-3, atol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )
