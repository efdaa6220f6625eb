"""`imcswav data stats`: what it measures and says."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from imcswav.cli import main
from imcswav.data_stats import data_stats
from imcswav.errors import DataError, RecipeError

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.savez(tmp_path / "a.npz", x_train=PIXELS, y_train=np.arange(50) - 1, x_test=PIXELS[:5])
    return tmp_path / "a.npz"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["data", "stats", *words])
    return int(ended.value.code or 0)


def test_a_data_set_by_its_name(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("numpy", "--set", f"data.file={file}") == 0
    said = capsys.readouterr().out
    assert "8 × 8 pixels, 3 channels, 0 named classes" in said
    rows = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in said.splitlines()]
    assert ["train", "50", "49"] in [row[:3] for row in rows]  # one label is unknown
    assert ["test", "5", "0"] in [row[:3] for row in rows]
    views = tomllib.loads(said[said.index("[views]") :])["views"]
    values = PIXELS / 255
    assert views["mean"] == pytest.approx(values.mean((0, 1, 2)), abs=1e-4)
    assert views["std"] == pytest.approx(values.std((0, 1, 2)), abs=1e-4)


def test_a_recipe_and_the_constants_it_uses() -> None:
    stats = data_stats("digits")
    assert stats.used == stats.measured == (stats.data.mean, stats.data.std)
    other = data_stats("digits", ["views.mean=[0.25]", "data.size=8"])
    assert (list(other.used[0]), other.used[1]) == ([0.25], other.data.std)
    assert other.measured[0] != (0.25,)
    assert other.data.size == 8


@pytest.mark.parametrize(
    ("source", "changes", "error", "message"),
    [
        ("stl1", [], DataError, "There is no recipe or data set 'stl1'. Did you mean 'stl10'"),
        ("stl10", ["root=x"], RecipeError, "root: is no setting of the data. Write data.x=y."),
        ("stl10", ["data.rot=x"], RecipeError, "rot"),
        ("numpy", [], RecipeError, "file"),
        ("numpy", ["data.file=nowhere.npz"], DataError, "nowhere.npz"),
    ],
)
def test_mistakes(source: str, changes: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data_stats(source, changes)


def test_mistakes_are_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("nothing_of_that_name") == 2
    assert "There is no recipe or data set" in capsys.readouterr().err
