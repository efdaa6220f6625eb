import json
import shutil
import subprocess

import pytest

import imcswav
from imcswav import runs
from imcswav.errors import RunError
from imcswav.recipe.files import load_recipe
from imcswav.runs import RunFolder, environment


@pytest.fixture
def recipe(tiny):
    return load_recipe(tiny)


def test_a_new_folder_holds_recipe_and_environment(recipe, tmp_path):
    run = RunFolder.create(recipe, tmp_path / "deep" / "down" / "run")
    assert sorted(path.name for path in run.path.iterdir()) == ["environment.json", "recipe.toml"]
    assert RunFolder.open(run.path).recipe() == recipe
    assert not run.finished
    (tmp_path / "empty").mkdir()
    RunFolder.create(recipe, tmp_path / "empty")


def test_without_out_the_folder_is_named_after_recipe_and_time(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [RunFolder.create(recipe).path for _ in range(3)]
    assert len(set(paths)) == 3
    assert all(path.parent == runs.Path("runs/tiny") for path in paths)


def test_nothing_is_overwritten(recipe, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(RunError, match="not an empty folder; nothing is overwritten"):
            RunFolder.create(recipe, tmp_path / name)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    with pytest.raises(RunError, match=r"can't be written: .*; give another --out"):
        RunFolder.create(recipe, tmp_path / "file" / "below")


def test_the_environment_says_what_a_figure_needs(recipe, tmp_path):
    run = RunFolder.create(recipe, tmp_path / "run")
    found = json.loads((run.path / "environment.json").read_text())
    assert found["imcswav"] == imcswav.__version__
    assert found["seed"] == recipe.seed
    assert set(found["packages"]) == set(runs.PACKAGES)
    assert all(found["packages"].values())
    for key in ("python", "platform", "processor", "cores", "torch_threads", "command", "started"):
        assert found[key], key
    assert {"gpus", "cuda", "git_commit", "git_dirty"} <= set(found)


def test_a_package_without_metadata_and_no_git_are_no_obstacle(monkeypatch):
    def missing(*arguments, **keywords):
        raise FileNotFoundError("git")

    monkeypatch.setattr(runs, "PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setattr(runs.subprocess, "run", missing)
    found = environment(0)
    assert found["packages"]["no-such-package"] is None
    assert found["packages"]["torch"]
    assert found["git_commit"] is None


def git(folder, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_only_a_repository_that_tracks_the_package_counts(tmp_path, monkeypatch):
    """A package installed inside somebody else's repository doesn't have that one's commit."""
    package = tmp_path / "venv" / "imcswav"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "thesis.txt").touch()
    git(tmp_path, "init")
    git(tmp_path, "add", "thesis.txt")
    git(tmp_path, "commit", "-m", "Thesis")
    monkeypatch.setattr(runs, "SOURCE", package)
    found = environment(0)
    assert (found["git_commit"], found["git_dirty"]) == (None, None)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "Package")
    (tmp_path / "thesis.txt").write_text("changed")  # outside the package
    found = environment(0)
    assert len(found["git_commit"]) == 40
    assert found["git_dirty"] is False
    (package / "__init__.py").write_text("changed")
    assert environment(0)["git_dirty"] is True


def place(recipe, name, checkpoint=True, finished=False):
    run = RunFolder.create(recipe, runs.Path("runs") / recipe.name / name)
    if checkpoint:
        run.checkpoints.mkdir()
        (run.checkpoints / "step-000000001.pt").touch()
    if finished:
        run.write_json("summary.json", {"acc": 1.0})
    return run.path


def test_latest_unfinished_run_of_the_same_recipe(recipe, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="no unfinished run of this recipe"):
        RunFolder.latest_unfinished(recipe)
    place(recipe, "20250101-000000-aaaa")
    wanted = place(recipe, "20250102-000000-aaaa")
    place(recipe, "20250103-000000-aaaa", finished=True)
    place(recipe, "20250104-000000-aaaa", checkpoint=False)
    place(load_recipe(tiny, {"seed": 5}), "20250105-000000-aaaa")
    assert RunFolder.latest_unfinished(recipe).path == wanted


def test_open_and_summary_name_what_is_missing(recipe, tmp_path):
    with pytest.raises(RunError, match=r"is no run folder: it holds no recipe\.toml"):
        RunFolder.open(tmp_path)
    run = RunFolder.create(recipe, tmp_path / "run")
    with pytest.raises(RunError, match=r"no readable summary\.json"):
        run.summary()
    run.write_json("summary.json", {"acc": 0.5})
    assert run.finished
    assert run.summary() == {"acc": 0.5}
