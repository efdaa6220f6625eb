import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny import blobs, short_run

import imcswav
from imcswav import environment as environments
from imcswav.environment import PACKAGES, continued_environment, environment
from imcswav.errors import PluginError, RunError
from imcswav.metrics import Metric
from imcswav.recipe.files import load_recipe
from imcswav.runs import RunFolder, figures


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
    assert all(path.parent == Path("runs/tiny") for path in paths)


def test_nothing_is_overwritten(recipe, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(RunError, match="not an empty folder; nothing is overwritten"):
            RunFolder.create(recipe, tmp_path / name)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    with pytest.raises(RunError, match=r"can't be written: .*; name another folder"):
        RunFolder.create(recipe, tmp_path / "file" / "below")


def test_the_environment_says_what_a_figure_needs(recipe, tmp_path):
    run = RunFolder.create(recipe, tmp_path / "run")
    found = json.loads((run.path / "environment.json").read_text())
    assert found["imcswav"] == imcswav.__version__
    assert found["seed"] == recipe.seed
    assert set(found["packages"]) == set(PACKAGES)
    assert all(found["packages"].values())
    for key in ("python", "platform", "processor", "cores", "torch_threads", "command", "started"):
        assert found[key], key
    assert {"gpus", "cuda", "git_commit", "git_dirty"} <= set(found)


def test_a_package_without_metadata_and_no_git_are_no_obstacle(monkeypatch):
    def missing(*arguments, **keywords):
        raise FileNotFoundError("git")

    monkeypatch.setattr(environments, "PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setattr(environments.subprocess, "run", missing)
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
    monkeypatch.setattr(environments, "SOURCE", package)
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
    run = RunFolder.create(recipe, Path("runs") / recipe.name / name)
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


def test_a_run_without_checkpoint_is_the_latest_where_none_has_one_but_not_with_results(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place(recipe, "20250101-000000-aaaa", checkpoint=False)
    wanted = place(recipe, "20250102-000000-aaaa", checkpoint=False)
    (place(recipe, "20250103-000000-aaaa", checkpoint=False) / "model").mkdir()
    assert RunFolder.latest_unfinished(recipe).path == wanted


def test_a_run_whose_recipe_cannot_be_read_is_passed_over(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = place(recipe, "20250101-000000-aaaa")
    strange = place(recipe, "20250102-000000-aaaa") / "recipe.toml"
    strange.write_text(strange.read_text().replace('name = "swav"', 'name = "of_a_plugin_that_is_gone"'))
    with pytest.warns(UserWarning, match="20250102-000000-aaaa is passed over: .*of_a_plugin_that_is_gone"):
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


def test_figures_are_found_by_name_and_not_by_place():
    facts = {"kmeans_acc": 0.2, "recipe": "x", "clusters": 3, "acc": 0.5, "metrics": ["acc", "mine"], "mine": 0.7}
    summary = facts | {"acc_bn_test": None, "features_kmeans_acc": 0.4}
    found = {"acc": 0.5, "mine": 0.7, "acc_bn_test": None, "kmeans_acc": 0.2, "features_kmeans_acc": 0.4}
    assert figures(summary) == figures(dict(sorted(summary.items()))) == found
    assert list(figures(summary)) == list(found)
    assert figures({"recipe": "x", "acc": 0.5, "kmeans_acc": 0.2, "clusters": 3}) == {"acc": 0.5, "kmeans_acc": 0.2}
    for damaged in ({"acc": 0.5}, {"metrics": ["acc"], "acc": 0.5}):
        with pytest.raises(RunError, match="holds no figures of a run"):
            figures(damaged)


@pytest.mark.parametrize("name", ["clusters", "seed", "kmeans_acc"])
def test_a_metric_that_the_summary_would_overwrite_is_refused(recipe, tmp_path, name):
    taken = type("Taken", (Metric,), {"__doc__": "Takes a name."}, name=name)
    evaluation = recipe.evaluation.model_copy(update={"metrics": [taken.Config()]})
    mistaken = recipe.model_copy(update={"evaluation": evaluation})
    with pytest.raises(PluginError, match=rf"The metric '{name}' can't stand in summary\.json"):
        RunFolder.create(mistaken, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(PluginError, match=rf"The metric '{name}' can't stand"):
        RunFolder.create(recipe, tmp_path / "run").note_environment(mistaken)


def test_what_is_another_on_going_on_is_added():
    known = {"started": "then", "git_commit": "a", "packages": {"torch": "1"}, "command": ["run"]}
    assert continued_environment(known, known | {"started": "now"}) == known
    first = continued_environment(known, known | {"started": "now", "git_commit": "b"})
    assert first == known | {"resumed": [{"started": "now", "git_commit": "b"}]}
    assert continued_environment(first, known | {"started": "later", "git_commit": "b"}) == first
    last = continued_environment(first, known | {"started": "later", "packages": {"torch": "2"}})
    assert last["resumed"][1] == {"started": "later", "git_commit": "a", "packages": {"torch": "2"}}
    assert last["git_commit"] == "a"


def test_a_resumed_run_says_under_what_it_went_on(tiny, tmp_path, monkeypatch):
    run = short_run(tiny, tmp_path / "run").path

    def go_on():
        (run / "summary.json").unlink()
        imcswav.resume(run, data=blobs()[0])
        return json.loads((run / "environment.json").read_text())

    first = go_on()
    assert "resumed" not in first  # nothing but the time is another
    monkeypatch.setattr(environments, "_source", lambda: {"git_commit": "another", "git_dirty": False})
    found = go_on()
    (entry,) = found.pop("resumed")
    assert found == first
    assert entry.pop("started")
    assert entry["git_commit"] == "another"
    assert set(entry) <= {"git_commit", "git_dirty"}
    (run / "environment.json").unlink()
    assert go_on()["resumed"][0]["git_commit"] == "another"
