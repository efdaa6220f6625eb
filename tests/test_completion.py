"""What a shell completes: commands, options, recipes; without importing torch, since somebody waits."""

import os
import subprocess
import sys

import pytest

PROGRAM = "import sys; sys.argv[0] = 'imcswav'; from imcswav.cli import main; main()"


def completed(words, folder):
    given = {"_IMCSWAV_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command = [sys.executable, "-c", f"import sys; sys.modules['torch'] = None; {PROGRAM}"]
    path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    environment = os.environ | given | {"PYTHONPATH": path}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("imcswav lad", ["ladder"]),
        ("imcswav run digits --see", ["--seed", "--seeds"]),
        ("imcswav run imc_swav_cifar10_v", ["imc_swav_cifar10_vit"]),
        ("imcswav check plus/digits/a", ["plus/digits/a_baseline"]),
        ("imcswav ladder plus/d", ["plus/digits"]),
        ("imcswav show so", ["solver"]),
        ("imcswav list lo", ["loss"]),
        ("imcswav new cal", ["callback"]),
        ("imcswav run my", []),  # then the shell looks for files, and knows about blanks and "~"
    ],
)
def test_words_are_completed(tmp_path, words, expected):
    (tmp_path / "my.toml").touch()
    assert completed(words, tmp_path) == expected


def test_completion_is_for_imcswav_however_it_is_called():
    """By `python -m imcswav` it would otherwise be installed for the program python: it goes by the name in usages."""
    said = subprocess.run([sys.executable, "-m", "imcswav", "run"], capture_output=True, text=True).stderr
    assert said.startswith("Usage: imcswav run ")
