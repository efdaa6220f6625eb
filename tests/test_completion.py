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
        ("imcswav run my", ["my.toml", "mylar/"]),
        ("imcswav run mylar/", ["mylar/deep.toml"]),
        ("imcswav run nothing_like_it", []),
    ],
)
def test_words_are_completed(tmp_path, words, expected):
    (tmp_path / "mylar").mkdir()
    for name in ("my.toml", "my.png", "mylar/deep.toml"):
        (tmp_path / name).touch()
    assert completed(words, tmp_path) == expected
