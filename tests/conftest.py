import copy

import pytest
import torch

TINY = {
    "name": "tiny",
    "clusters": 3,
    "data": {"name": "digits", "size": 8},
    "views": {
        "name": "multicrop",
        "crops": [{"count": 2, "size": 8, "scale": [0.5, 1.0]}, {"count": 1, "size": 6, "scale": [0.3, 0.6]}],
        "flip": 0.0,
    },
    "backbone": {"name": "small_resnet", "stem": 4, "widths": [8], "strides": [2]},
    "heads": {
        "projection": {"name": "mlp", "hidden": [8], "width": 8},
        "prototypes": {"name": "prototypes", "input": "projection", "count": 12, "freeze_steps": 2},
        "classifier": {"name": "mlp", "hidden": [8], "norm": "batch", "width": "clusters", "detach": True},
    },
    "losses": [{"name": "swav"}, {"name": "imc"}],
    "optimizer": {"name": "adam", "lr": 1e-3},
    "trainer": {"epochs": 3, "batch_size": 256, "device": "cpu", "threads": 1},
    "callbacks": {"tensorboard": {"enabled": False}},
    "evaluation": {"plots": False},  # drawing takes three quarters of so short a run
}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def tiny():
    """A recipe that trains in about a second."""
    return copy.deepcopy(TINY)
