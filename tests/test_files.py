import csv
import os
from pathlib import Path

import pytest

from imcswav.errors import RunError
from imcswav.files import read_csv, refuse_existing, write_atomically, write_csv


def test_a_crash_while_writing_leaves_the_old_content(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def crash(temporary):
        temporary.write_text("ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, crash)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_crash_before_the_rename_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def full(handle):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_file_and_folder_are_flushed_around_the_rename(tmp_path, monkeypatch):
    path, events = tmp_path / "file.txt", []
    fsync, replace = os.fsync, os.replace

    def watched(handle):
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(os, "replace", lambda *names: (events.append("rename"), replace(*names)))
    write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
    assert [event for event in events if event == "rename"] == ["rename"]
    if os.path.isdir("/proc/self/fd"):
        assert events == ["file", "rename", "folder"]


def test_no_name_is_a_formula_and_all_come_back(tmp_path):
    names = ["=1+1.png", "+a.png", "-a.png", "@eaDir/a.png", "\tx", "\rx", "\nx"]
    names += ["'=a.png", "''@a", "'a.png", "'", "", "a=b"]
    write_csv(tmp_path / "t.csv", ("image", "value"), [(name, "x") for name in names])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        written = [row[0] for row in csv.reader(file)][1:]
    assert not [cell for cell in written if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert len(set(written)) == len(names)
    assert [row["image"] for row in read_csv(tmp_path / "t.csv")] == names


def test_numbers_are_written_as_they_are(tmp_path):
    write_csv(tmp_path / "t.csv", ("a", "b", "c", "d"), [(-1, -0.5, "-0.2500", "+1e-05")])
    assert (tmp_path / "t.csv").read_text().splitlines() == ["a,b,c,d", "-1,-0.5,-0.2500,+1e-05"]


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_is_put_where_none_is(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(PermissionError()))
    path = tmp_path / "labels.csv"
    write_csv(path, ("image",), [("a",)], new=True)
    with pytest.raises(RunError, match=r"labels.csv was made by somebody else meanwhile and is not overwritten"):
        write_csv(path, ("image",), [("b",)], new=True)
    assert [row["image"] for row in read_csv(path)] == ["a"]
    assert [file.name for file in tmp_path.iterdir()] == ["labels.csv"]


def test_one_file_for_two_things_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse_existing(Path("a.png"), None, Path("b.png"), None)
    with pytest.raises(RunError, match=r"a.png is to be written twice, with different contents; give another name\."):
        refuse_existing(Path("b.png"), Path("a.png"), tmp_path / "a.png")
    Path("link.csv").symlink_to("gone.csv")
    with pytest.raises(RunError, match=r"link.csv exists"):
        refuse_existing(Path("link.csv"))
