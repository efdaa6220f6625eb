import pickle
import signal
import threading

import pytest
import torch
from torch import nn

from imcswav import checkpoint
from imcswav.checkpoint import CheckpointWriter, to_host
from imcswav.errors import RunError

CPU = torch.device("cpu")


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
    with pytest.warns(UserWarning, match=r"Damaged, so step-000000001\.pt is taken instead: step-000000002\.pt: "):
        assert checkpoint.load_latest(tmp_path)["step"] == 1


@pytest.mark.filterwarnings("ignore:Damaged")
def test_no_changed_byte_passes(tmp_path):
    """Whichever byte is another: what is read is the whole new state or the whole old one."""
    save(tmp_path, 1, 2)
    newest = checkpoint.saved(tmp_path)[-1]
    whole = newest.read_bytes()
    fallen = 0
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        newest.write_bytes(changed)
        state = checkpoint.load_latest(tmp_path)
        fallen += state["step"] == 1
        assert torch.equal(state["weights"], torch.full((1000,), float(state["step"]))), place
    assert fallen > 0.5 * len(whole) / 7


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


@pytest.fixture
def gate(monkeypatch):
    """Every write waits for this event."""
    opened = threading.Event()
    write = checkpoint.write_atomically

    def waiting(path, fill):
        assert opened.wait(60)
        write(path, fill)

    monkeypatch.setattr(checkpoint, "write_atomically", waiting)
    yield opened
    opened.set()


@pytest.fixture
def ctrl_c():
    """Python's own handler: a process started in the background may ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def full(monkeypatch):
    """A disk without room for checkpoints, while the event is set."""
    is_full = threading.Event()
    is_full.set()
    write = checkpoint.write_atomically

    def refusing(path, fill):
        if is_full.is_set():
            raise OSError(28, "No space left on device", str(path))
        write(path, fill)

    monkeypatch.setattr(checkpoint, "write_atomically", refusing)
    return is_full


def test_what_is_written_is_the_state_at_the_save(tmp_path, gate):
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    expected = [p.detach().clone() for p in net.parameters()]
    moments = [state["exp_avg"].clone() for state in optimizer.state.values()]
    writer = CheckpointWriter(tmp_path, CPU)
    writer.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": 1}, 1)
    optimizer.step()  # in place, while the thread has not begun
    optimizer.param_groups[0]["lr"] = 7.0
    assert names(tmp_path) == []
    gate.set()
    writer.wait()
    state = checkpoint.load_latest(tmp_path)
    for (name, _), value in zip(net.named_parameters(), expected, strict=True):
        assert torch.equal(state["net"][name], value)
    for saved, value in zip(state["optimizer"]["state"].values(), moments, strict=True):
        assert torch.equal(saved["exp_avg"], value)
    assert state["optimizer"]["param_groups"][0]["lr"] == 1e-3


def test_a_copy_differs_in_nothing_but_memory():
    net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    state = {"net": net.state_dict(), "groups": [{"betas": (0.9, torch.ones(()))}], "none": None, "step": 3}
    copied = to_host(state)
    weight = copied["net"]["weight"]
    assert torch.equal(weight, net.weight)
    assert weight.stride() == net.weight.stride()
    assert weight.data_ptr() != net.weight.data_ptr()
    assert copied["net"]._metadata == state["net"]._metadata  # versions of the modules
    assert copied["groups"] == state["groups"]
    assert copied["groups"][0]["betas"][1] is not state["groups"][0]["betas"][1]
    assert (copied["none"], copied["step"]) == (None, 3)


def test_writes_come_one_after_the_other(tmp_path, monkeypatch):
    at_once = []
    under_way = threading.Semaphore(1)
    write = checkpoint.write_atomically

    def watched(path, fill):
        at_once.append(under_way.acquire(blocking=False))
        write(path, fill)
        under_way.release()

    monkeypatch.setattr(checkpoint, "write_atomically", watched)
    writer = CheckpointWriter(tmp_path / "new", CPU)
    for step in (5, 40, 300, 301):
        writer.save({"step": step, "weights": torch.full((1000,), float(step))}, step)
    writer.wait()
    writer.wait()  # nothing to wait for
    assert at_once == [True] * 4
    assert names(tmp_path / "new") == ["step-000000300.pt", "step-000000301.pt"]
    assert torch.equal(checkpoint.load_latest(tmp_path / "new")["weights"], torch.full((1000,), 301.0))


@pytest.mark.parametrize("where", ["wait", "save", "end"])
def test_what_goes_wrong_is_raised_once_on_the_callers_thread(tmp_path, full, where):
    writer = CheckpointWriter(tmp_path, CPU)
    surfaces = {
        "wait": writer.wait,
        "save": lambda: writer.save({"step": 2}, 2),
        "end": lambda: writer.__exit__(None, None, None),
    }
    writer.save({"step": 1}, 1)
    with pytest.raises(OSError, match="No space left"):
        surfaces[where]()
    full.clear()
    writer.save({"step": 3}, 3)
    writer.wait()
    assert names(tmp_path) == ["step-000000003.pt"]


def test_an_error_of_training_is_not_hidden_by_one_of_the_writer(tmp_path, full):
    writer = CheckpointWriter(tmp_path, CPU)
    writer.save({"step": 1}, 1)
    with pytest.raises(RunError, match="nan") as caught, writer:
        raise RunError("The loss became nan.")
    assert "No space left" in caught.value.__notes__[0]
    writer.save({"step": 1}, 1)
    with pytest.raises(OSError, match="No space left"), writer:
        raise KeyboardInterrupt


def test_ctrl_c_while_waiting_stops_the_waiting_and_not_the_write(tmp_path, gate, ctrl_c):
    writer = CheckpointWriter(tmp_path, CPU)
    writer.save({"step": 1}, 1)
    main, stopped = threading.get_ident(), threading.Event()

    def press() -> None:
        while not stopped.wait(0.5):  # again: Python may miss one that comes just as it begins to wait
            signal.pthread_kill(main, signal.SIGINT)

    presses = threading.Thread(target=press)
    presses.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            writer.wait()
    finally:
        stopped.set()
        presses.join()
    assert names(tmp_path) == []
    gate.set()
    writer.wait()
    assert checkpoint.load_latest(tmp_path)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.pt"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_state_on_cuda_is_copied_before_it_changes(tmp_path, gate):
    weights = torch.arange(10_000_000, device="cuda")
    writer = CheckpointWriter(tmp_path, weights.device)
    used = torch.cuda.memory_allocated()
    writer.save({"weights": weights}, 1)
    assert torch.cuda.memory_allocated() == used
    weights.zero_()
    gate.set()
    writer.wait()
    assert torch.equal(checkpoint.load_latest(tmp_path)["weights"], torch.arange(10_000_000))


def test_ctrl_c_before_the_thread_is_there_loses_no_checkpoint(tmp_path, monkeypatch):
    def interrupted(thread):
        raise KeyboardInterrupt

    writer = CheckpointWriter(tmp_path, CPU)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), writer:
        writer.save({"x": torch.ones(2)}, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000005.pt"]


@pytest.mark.filterwarnings("ignore:Damaged")
def test_what_could_not_be_read_does_not_push_out_what_can(tmp_path):
    """Training went on from step 14, for 28 was torn: its name is later than those of good ones for a while."""
    save(tmp_path, 14, 28)
    checkpoint.saved(tmp_path)[-1].write_bytes(b"torn")
    assert checkpoint.load_latest(tmp_path)["step"] == 14
    save(tmp_path, 20)
    assert names(tmp_path) == ["step-000000014.pt", "step-000000020.pt"]
