"""Stages: silent, in lines, as bars; counted from many threads."""

import io
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from imcswav import progress
from imcswav.progress import shown, stage


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_terminal(monkeypatch):
    """Called within the test: a fixture's standard error would be captured anew."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return screen


def plain(screen):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def count_in_threads(advance, times):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: advance(2), range(times)))


def test_silent_unless_shown(capsys):
    with stage("Reading", total=3) as advance:
        advance()
    with shown():
        pass
    with stage("Reading", total=3) as advance:
        advance(3)
    printed = capsys.readouterr()
    assert printed.out + printed.err == ""


def test_a_line_a_stage_where_no_terminal_is(capsys):
    with shown():
        with stage("Reading [a] files", total=2000) as advance:
            with stage("Inside") as inner, shown():
                inner()
            count_in_threads(advance, 1000)
        with stage("Nothing to count"):
            pass
    printed = capsys.readouterr()
    assert printed.out == ""
    seconds = r"\d+\.\d s"
    inside, reading, nothing = printed.err.splitlines()
    assert re.fullmatch(f"Inside: 1 in {seconds}", inside)
    assert re.fullmatch(f"Reading \\[a\\] files: 2,000 in {seconds}", reading)
    assert re.fullmatch(f"Nothing to count: {seconds}", nothing)


def test_a_stage_that_failed_is_not_said_to_be_done(capsys):
    with pytest.raises(KeyError), shown(), stage("Reading"):
        raise KeyError
    assert capsys.readouterr().err == ""
    with stage("Later"):
        pass
    assert capsys.readouterr().err == "", "shown() lasts no longer than its block"


def test_bars_on_a_terminal(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with shown():
        with stage("Reading [a] files", total=2000) as advance:
            with stage("Inside", total=4) as inner:
                inner(4)
            count_in_threads(advance, 1000)
        assert progress._bars is None, "between stages the terminal is free"
        with stage("Second", total=10) as advance:
            advance(3)
    text = plain(terminal)
    for line in (r"Reading \[a\] files .*2000/2000", r"Inside .*4/4", r"Second .*3/10"):
        assert re.search(line, text)
    assert "Reading" not in text[text.rindex("Second") :]


def test_bars_leave_the_terminal_after_an_error(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with pytest.raises(KeyError), shown(), stage("Outer", total=3), stage("Inner", total=2):
        raise KeyError
    assert (progress._bars, progress._open_stages) == (None, 0)
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_needs_no_torch():
    code = "import sys, imcswav.progress; print(sorted({'torch', 'rich', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
