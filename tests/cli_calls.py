"""The command line, as a process and in this one; and a recipe for it."""

import subprocess
import sys

import pytest
import tomli_w

from imcswav.cli import main


def imcswav(*words, cwd):
    command = [sys.executable, "-m", "imcswav", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def call(capsys, *words):
    """The command in this process: exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return left.value.code, printed.out, printed.err


def write_recipe(tables, folder):
    """``tiny.toml`` of three steps in the folder."""
    tables["trainer"]["max_steps"] = 3
    path = folder / "tiny.toml"
    path.write_text(tomli_w.dumps(tables))
    return path
