import json
import os
import subprocess
import sys
import threading

import pytest
from tiny import blobs, short

import imcswav
from imcswav import lock
from imcswav.data.array import ArrayData
from imcswav.errors import RunError
from imcswav.lock import locked, remove_leftovers


def owner(folder):
    return json.loads((folder / lock.FILE).read_text())


def held_by(folder, **changes):
    with locked(folder):
        known = owner(folder)
    (folder / lock.FILE).write_text(json.dumps(known | changes))


def dead_process():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_the_lock_names_the_process_and_goes_with_it(tmp_path):
    with locked(tmp_path):
        assert owner(tmp_path)["pid"] == os.getpid()
        assert owner(tmp_path)["host"]
        with locked(tmp_path):  # resuming holds the lock before training does
            assert os.listdir(tmp_path) == [lock.FILE]
    assert os.listdir(tmp_path) == []
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 / 0
    assert os.listdir(tmp_path) == []


def test_a_living_process_keeps_its_folder(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        held_by(tmp_path, pid=other.pid, started=lock._started(other.pid))
        with pytest.raises(RunError, match=f"is in use by process {other.pid} on .*; wait for it"), locked(tmp_path):
            pass
        assert owner(tmp_path)["pid"] == other.pid
    finally:
        other.communicate(b"\n")
    with pytest.warns(UserWarning, match=f"Process {other.pid}, .* is gone: taken over"), locked(tmp_path):
        assert owner(tmp_path)["pid"] == os.getpid()


def test_another_thread_of_this_process_is_another(tmp_path):
    refused = []

    def try_it():
        try:
            with locked(tmp_path):
                pass
        except RunError as error:
            refused.append(str(error))

    with locked(tmp_path):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert "in use" in refused[0]


@pytest.mark.skipif(lock.fcntl is None, reason="needs flock")
def test_a_dead_process_lock_is_taken_over_by_one_at_a_time(tmp_path, recwarn):
    held_by(tmp_path, pid=dead_process())
    took = threading.Event()

    def work():
        with locked(tmp_path):
            took.set()

    with lock._one_at_a_time(tmp_path):
        thread = threading.Thread(target=work)
        thread.start()
        assert not took.wait(0.2)
        assert (tmp_path / lock.FILE).exists()
    thread.join()
    assert took.is_set()


@pytest.mark.skipif(not lock._started(os.getpid()), reason="needs /proc")
def test_a_number_given_anew_is_another_process(tmp_path):
    held_by(tmp_path, started="1")
    with pytest.warns(UserWarning, match="taken over"), locked(tmp_path):
        assert owner(tmp_path)["started"] == lock._started(os.getpid())


def test_another_host_is_never_taken_over(tmp_path):
    held_by(tmp_path, host="elsewhere", pid=dead_process())
    with (
        pytest.raises(RunError, match=r"on elsewhere; if that process is no more, remove"),
        locked(tmp_path),
    ):
        pass


@pytest.mark.parametrize("content", ["", '{"pid": 1', "[]", "{}"])
def test_a_torn_lock_is_nobodys(tmp_path, content):
    (tmp_path / lock.FILE).write_text(content)
    with locked(tmp_path):
        assert owner(tmp_path)["pid"] == os.getpid()


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def refused(*names):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with locked(tmp_path), locked(tmp_path):
        assert os.listdir(tmp_path) == [lock.FILE]


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refused(*names):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(lock, "_create", refused)
    with pytest.raises(RunError, match="can't be written: Read-only file system; make it writable"), locked(tmp_path):
        pass


def test_only_what_dead_processes_left_is_removed(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        kept = f".report.html.{other.pid}.tmp"
        for name in (kept, f".summary.json.{dead_process()}.tmp", f".a.{os.getpid()}.tmp", "labels.csv", ".hidden"):
            (tmp_path / name).touch()
        remove_leftovers(tmp_path)
        assert sorted(os.listdir(tmp_path)) == sorted([kept, "labels.csv", ".hidden"])
    finally:
        other.communicate(b"\n")


def test_a_run_that_is_being_trained_is_not_resumed(tiny, tmp_path):
    pixels, _ = blobs()
    data, run = ArrayData.of(pixels), tmp_path / "run"
    imcswav.run(short(tiny, max_steps=2), {"heads.prototypes.freeze_steps": 0}, out=run, data=data)
    assert not (run / lock.FILE).exists()
    held_by(run, host="elsewhere")  # it has a summary, and is still writing what comes after that
    with pytest.raises(RunError, match="in use by process"):
        imcswav.resume(run, data=data)
    (run / lock.FILE).unlink()
    assert imcswav.resume(run, data=data).summary["steps"] == 2
