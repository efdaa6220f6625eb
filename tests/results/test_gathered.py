"""Signals of many runs beside their accuracy."""

import csv
import json

import pytest
from cli_calls import call
from tiny import png_size

from imcswav.errors import ImcswavError
from imcswav.results.gathered import ALL, gather, spearman

SCORED = {"scored_on": "train (40 images)", "clusters": 2, "metrics": ["acc"]}


def run(path, acc, signals, recipe="a", seed=0, data="digits", **changes):
    """What of a run folder is read."""
    path.mkdir(parents=True)
    summary = SCORED | {"recipe": recipe, "acc": acc, "seed": seed, "signals": signals} | changes
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "recipe.toml").write_text(f'[data]\nname = "{data}"\n')
    return path


@pytest.fixture
def runs(tmp_path):
    """A series of three seeds, one run of another recipe below, one of other data, and what is no finished run."""
    home = tmp_path / "runs"
    for seed, acc, loss in ((0, 0.5, 3.0), (1, 0.7, 2.0), (2, 0.6, 2.0)):
        run(home / "series" / f"seed-{seed}", acc, {"loss": loss, "silhouette": acc / 2}, seed=seed)
    known = {str(seed): {"loss": 0, "seed_agreement": 0.1 * seed} for seed in range(3)}
    names = {str(seed): f"seed-{seed}" for seed in range(3)}
    (home / "series" / "seeds.json").write_text(json.dumps({"signals": known, "runs": names}))
    run(home / "deep" / "down" / "b", 0.9, {"loss": 9.0}, recipe="b")
    run(home / "c", None, {"loss": 1.0}, data="other")
    run(home / "old", 0.4, None)
    (home / "ladder").mkdir()
    (home / "ladder" / "summary.json").write_text("[]")
    (home / "unfinished").mkdir()
    (home / "unfinished" / "recipe.toml").touch()
    return home


def ranks(values):
    """Mean rank of equals, from 1."""
    return [sum(o < v for o in values) + (sum(o == v for o in values) + 1) / 2 for v in values]


def plain_spearman(one, other):
    one, other = ranks(one), ranks(other)
    n = len(one)
    a, b = [x - sum(one) / n for x in one], [y - sum(other) / n for y in other]
    return sum(x * y for x, y in zip(a, b, strict=True)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


def test_spearman():
    one, other = [0.3, 0.1, 0.1, 0.9, 0.5], [3.0, 2.0, 5.0, 4.0, 4.0]
    assert spearman(one, other) == pytest.approx(plain_spearman(one, other))
    assert spearman([1, 2], [1, 2]) is None
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def test_recipes_of_one_name_and_other_settings_are_told_apart(tmp_path):
    for number, epochs in enumerate((3, 3, 5)):
        path = run(tmp_path / str(number), 0.5, {"loss": 1.0}, seed=number)
        with (path / "recipe.toml").open("a") as file:
            file.write(f"[trainer]\nepochs = {epochs}\ndevice = '{number}'\n")
    assert [row.recipe for row in gather([tmp_path]).rows] == ["a (1)", "a (1)", "a (2)"]


def test_runs_are_found_wherever_they_lie_and_once(runs):
    found = gather([runs / "series", runs, runs / "c"])
    assert [row.path.relative_to(runs).as_posix() for row in found.rows] == [
        "series/seed-0", "series/seed-1", "series/seed-2", "c", "deep/down/b",
    ]  # fmt: skip
    assert found.rows[1].signals == {"loss": 0, "silhouette": 0.35, "seed_agreement": 0.1}
    assert [path.name for path in found.without] == ["old"]
    assert found.names == ["loss", "silhouette", "seed_agreement"]


def test_correlation_within_recipe_and_over_all_recipes_of_a_data_set(runs):
    (runs / "series" / "seeds.json").unlink()
    found = {(one.data, one.recipe, one.signal): one for one in gather([runs]).correlations}
    data = "digits, train (40 images), 2 clusters"
    inner = found[data, "a", "loss"]
    assert (inner.n, inner.rho) == (3, pytest.approx(plain_spearman([3, 2, 2], [0.5, 0.7, 0.6])))
    pooled = found[data, ALL, "loss"]
    assert (pooled.n, pooled.rho) == (4, pytest.approx(plain_spearman([3, 2, 2, 9], [0.5, 0.7, 0.6, 0.9])))
    assert found[data, ALL, "silhouette"].rho == pytest.approx(1)
    assert (found[data, "b", "loss"].n, found[data, "b", "loss"].rho) == (1, None)
    other = found["other, train (40 images), 2 clusters", "a", "loss"]
    assert (other.n, other.rho) == (0, None)


def test_another_attempts_folder_has_nothing_of_the_series(runs):
    run(runs / "series" / "seed-1-2", 0.1, {"loss": 5.0}, seed=1)
    (row,) = [row for row in gather([runs]).rows if row.path.name == "seed-1-2"]
    assert row.signals == {"loss": 5.0}


@pytest.mark.parametrize(("rung", "recipes"), [('rung = "first"', 1), ("", 2)])
def test_seeds_of_a_second_stage_are_of_one_recipe(tmp_path, rung, recipes):
    """Each starts from another run, of the same seed of a rung; without one the runs tell recipes apart."""
    for seed in range(2):
        folder = run(tmp_path / f"seed-{seed}", 0.5, {"loss": 1.0}, seed=seed)
        with (folder / "recipe.toml").open("a", encoding="utf-8") as file:
            file.write(f'[init]\nrun = "first/seed-{seed}"\n{rung}\n')
    assert len({row.recipe for row in gather([tmp_path]).rows}) == recipes


def test_nothing_to_gather(runs, tmp_path):
    with pytest.raises(ImcswavError, match="There is no folder"):
        gather([tmp_path / "nowhere"])
    with pytest.raises(ImcswavError, match="No finished run with signals lies in"):
        gather([runs / "old"])


def test_the_command_prints_and_writes_and_overwrites_nothing(runs, tmp_path, capsys):
    files = {"--csv": tmp_path / "s.csv", "--plot": tmp_path / "s.png", "--markdown": tmp_path / "s.md"}
    words = [word for pair in files.items() for word in pair]
    code, out, err = call(capsys, "signals", runs, *words)
    assert code == 0, err
    assert "+1.00 (n = 3)" in out
    assert "analysis after the fact" in out
    assert "runs without signals are left out" in err
    with files["--csv"].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["acc"] for row in rows] == ["", "0.9", "0.5", "0.7", "0.6"]
    assert rows[1]["silhouette"] == ""
    assert rows[3]["seed_agreement"] == "0.1"
    assert min(png_size(files["--plot"])) > 300
    text = files["--markdown"].read_text(encoding="utf-8")
    assert "| digits, train (40 images), 2 clusters | a | silhouette | 3 | +1.00 |" in text
    for option, path in files.items():
        before = path.read_bytes()
        code, out, err = call(capsys, "signals", runs, option, path)
        assert (code, path.read_bytes(), out) == (2, before, "")
        assert "not overwritten" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--keep", "best"), "give their seeds by --seeds"),
        (("--seeds", "0", "--keep-by", "loss"), "add --keep best"),
        (("--seeds", "0", "--keep", "worst"), "can only be 'best'"),
        (("--seeds", "0", "--keep", "best", "--keep-by", "acc"), "There is no signal 'acc'"),
        (("--seeds", "0-1", "--keep", "best"), "'seed_agreement' tells runs apart from 3 seeds on"),
    ],
)
def test_mistakes_in_what_to_keep(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, "run", "digits", *words)
    assert code == 2
    assert said in err
    assert not (tmp_path / "runs").exists()


def test_images_of_one_kind_and_other_places_are_told_apart(tmp_path):
    for place, (file, size) in enumerate((("one.npz", 16), ("one.npz", 32), ("other.npz", 16))):
        path = run(tmp_path / str(place), 0.5, {"loss": 1.0}, data="numpy")
        (path / "recipe.toml").write_text(f'[data]\nname = "numpy"\nfile = "{file}"\nsize = {size}\n')
    images = "numpy, train (40 images), 2 clusters"
    assert [row.data for row in gather([tmp_path]).rows] == [f"{images} (1)", f"{images} (1)", f"{images} (2)"]
