import pickle

import pytest
import torch

from imcswav import checkpoint
from imcswav.errors import RunError


def save(folder, *steps):
    for step in steps:
        checkpoint.save(folder, {"step": step, "weights": torch.full((1000,), float(step))}, step)


def names(folder):
    return [path.name for path in checkpoint.saved(folder)]


def test_keeps_the_last_two(tmp_path):
    save(tmp_path / "new", 5, 40, 300)
    assert names(tmp_path / "new") == ["step-000000040.pt", "step-000000300.pt"]
    state = checkpoint.load_latest(tmp_path / "new")
    assert state["step"] == 300
    assert torch.equal(state["weights"], torch.full((1000,), 300.0))


@pytest.mark.parametrize("damage", ["torn", "empty", "flipped", "nonsense"])
def test_falls_back_when_the_newest_is_damaged(tmp_path, damage):
    save(tmp_path, 1, 2)
    newest = checkpoint.saved(tmp_path)[-1]
    data = bytearray(newest.read_bytes())
    if damage == "flipped":  # one bit of the weights
        data[data.index(torch.full((9,), 2.0).numpy().tobytes())] ^= 1
    newest.write_bytes({"torn": data[:-50], "empty": b"", "flipped": data, "nonsense": b"not a checkpoint"}[damage])
    assert checkpoint.load_latest(tmp_path)["step"] == 1


def test_none_that_can_be_read(tmp_path):
    with pytest.raises(RunError, match="has no checkpoint that can be read; start the run anew"):
        checkpoint.load_latest(tmp_path / "missing")
    save(tmp_path, 1, 2)
    for path in checkpoint.saved(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(RunError, match=r"step-000000002\.pt: .*; step-000000001\.pt: "):
        checkpoint.load_latest(tmp_path)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    sprung = tmp_path / "sprung"
    trap = Trap(str(sprung))
    checkpoint.save(tmp_path, {"step": 1, "trap": trap}, 1)
    (tmp_path / "step-000000002.pt").write_bytes(pickle.dumps(trap))
    with pytest.raises(RunError, match="no checkpoint that can be read"):
        checkpoint.load_latest(tmp_path)
    assert not sprung.exists()


def test_generators_go_on_where_they_were():
    cpu = torch.device("cpu")
    states = checkpoint.generators(cpu)
    expected = torch.rand(3)
    torch.rand(100)
    foreign = {"cuda": torch.zeros(16, dtype=torch.uint8)}  # of a run that began on another machine
    checkpoint.restore_generators(states | foreign, cpu)
    assert torch.equal(torch.rand(3), expected)
