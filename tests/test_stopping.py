import os
import signal
import subprocess
import sys
import threading

import pytest

from imcswav.stopping import Stopping, Terminated, at_once

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs SIGUSR1")


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated), (signal.SIGUSR1, Terminated)],
)
def test_the_first_signal_is_noted_and_the_handlers_come_back(number, error):
    before = signal.getsignal(number)
    stopping = Stopping()
    with stopping.listening():
        assert stopping.asked is None
        signal.raise_signal(number)
        assert stopping.asked == number
    assert isinstance(stopping.error(), error)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_after_any_signal_stops_at_once(first):
    stopping = Stopping()
    with stopping.listening():
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stopping.asked == first


def test_a_launcher_passes_a_second_ctrl_c_on_as_sigterm(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with Stopping().listening():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_a_cluster_may_repeat_itself():
    stopping = Stopping()
    with stopping.listening():
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
    assert stopping.asked == signal.SIGUSR1


def test_other_threads_handle_no_signals():
    done = []

    def work():
        with Stopping().listening(), at_once():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_command_that_is_not_training_ends_at_once_with_143(number):
    program = (
        "import signal, imcswav.cli as cli\n"
        f"cli.app = lambda *a, **k: signal.raise_signal({int(number)})\n"
        "cli.main([])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (143, "Stopped.\n")
