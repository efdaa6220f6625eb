"""Files that are written anew: ours are replaced, somebody's are kept aside."""

import os

import pytest

from imcswav.clustering.written import FORMER, MEMORY, write_ours


def write(run, text, name="labels.csv"):
    return write_ours(run, name, lambda path: path.write_text(text))


def files(run):
    return {path.name: path.read_text() for path in run.iterdir() if path.name != MEMORY}


def test_ours_are_replaced_and_changed_ones_kept(tmp_path):
    assert write(tmp_path, "one") is None
    assert write(tmp_path, "two") is None
    (tmp_path / "labels.csv").write_text("mine")
    assert write(tmp_path, "three") == tmp_path / "labels.yours-1.csv"
    assert write(tmp_path, "four") is None
    (tmp_path / "labels.csv").write_text("mine too")
    assert write(tmp_path, "five") == tmp_path / "labels.yours-2.csv"
    expected = {"labels.csv": "five", "labels.yours-1.csv": "mine", "labels.yours-2.csv": "mine too"}
    assert files(tmp_path) == expected


def test_a_run_of_before_has_its_memory_elsewhere(tmp_path):
    write(tmp_path, "one")
    (tmp_path / "clustering").mkdir()
    (tmp_path / MEMORY).rename(tmp_path / FORMER)
    assert write(tmp_path, "two") is None
    (tmp_path / "labels.csv").write_text("mine")
    assert write(tmp_path, "three") == tmp_path / "labels.yours-1.csv"


def test_files_are_told_apart(tmp_path):
    write(tmp_path, "a", "labels.csv")
    write(tmp_path, "b", "report.html")
    (tmp_path / "report.html").write_text("mine")
    assert write(tmp_path, "c", "labels.csv") is None
    assert write(tmp_path, "d", "report.html") == tmp_path / "report.yours-1.html"


@pytest.mark.parametrize("memory", [None, "torn {", "[1]"])
def test_a_file_nobody_remembers_is_somebodys(tmp_path, memory):
    write(tmp_path, "one")
    (tmp_path / MEMORY).unlink() if memory is None else (tmp_path / MEMORY).write_text(memory)
    assert write(tmp_path, "two") == tmp_path / "labels.yours-1.csv"
    assert files(tmp_path) == {"labels.csv": "two", "labels.yours-1.csv": "one"}


@pytest.mark.parametrize("after", ["the memory", "the file"])
def test_a_crash_makes_no_file_a_strangers(tmp_path, monkeypatch, after):
    write(tmp_path, "one")
    replace = os.replace

    def crash(source, target):
        if after == "the file":
            replace(source, target)
        if str(target).endswith("labels.csv"):
            raise KeyboardInterrupt
        if after == "the memory":
            replace(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, "two")
    monkeypatch.undo()
    assert files(tmp_path) == {"labels.csv": "one" if after == "the memory" else "two"}
    assert write(tmp_path, "three") is None
    assert files(tmp_path) == {"labels.csv": "three"}


def test_what_cannot_be_written_changes_nothing(tmp_path):
    (tmp_path / "labels.csv").write_text("mine")

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_ours(tmp_path, "labels.csv", fail)
    assert files(tmp_path) == {"labels.csv": "mine"}
