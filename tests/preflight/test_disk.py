"""Room for what a run writes, and the folder it goes to."""

import shutil

import pytest
from cli_calls import call, write_recipe
from tiny import blobs, short

from imcswav import disk
from imcswav.api import prepare, run
from imcswav.checkpoint import KEPT
from imcswav.data.array import ArrayData
from imcswav.errors import RecipeError, RunError
from imcswav.recipe.files import load_recipe


def filled(monkeypatch, free):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lars", {"name": "sgd", "momentum": 0.9}])
def test_bytes_are_those_of_the_files_that_a_run_leaves(optimizer, tiny, tmp_path):
    tiny["optimizer"] = optimizer | {"lr": 0.01} if isinstance(optimizer, dict) else {"name": optimizer, "lr": 0.01}
    tiny["heads"]["classifier"]["hidden"] = [2000, 20]  # so large that names and settings in the files count little
    recipe = load_recipe(tiny | {"clusters": 2})
    trainer = prepare(short(tiny, max_steps=5), (), tmp_path / "run", ArrayData.of(blobs()[0]), print)
    trainer.fit()
    checkpoints = [file.stat().st_size for file in (tmp_path / "run" / "checkpoints").glob("*.pt")]
    model = sum(tensor.nbytes for tensor in trainer.learner.state_dict().values())
    need, _ = disk.bytes_written(recipe, recipe.data.facts())
    assert len(checkpoints) == KEPT
    assert need == pytest.approx((KEPT + 1) * checkpoints[0] + model, rel=0.1)


def test_without_checkpoints_only_the_model_counts(tiny):
    with_them = load_recipe(tiny)
    without = load_recipe(tiny, ["callbacks.checkpoint.enabled=false"])
    facts = with_them.data.facts()
    assert disk.bytes_written(with_them, facts)[0] > 5 * disk.bytes_written(without, facts)[0] > 0


def test_a_full_disk_is_told_before_a_run(tiny, tmp_path, monkeypatch, capsys):
    recipe = write_recipe(tiny, tmp_path)
    need, _ = disk.bytes_written(load_recipe(recipe), load_recipe(recipe).data.facts())
    filled(monkeypatch, need - 1)
    code, out, err = call(capsys, "check", recipe, "--quick", "--out", tmp_path / "a" / "b")
    assert (code, out) == (2, "")
    assert f"are free in {tmp_path}. Make room there" in err
    with pytest.raises(RecipeError, match="Make room there"):
        run(recipe, out=tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    filled(monkeypatch, need)
    assert call(capsys, "check", recipe, "--quick", "--out", tmp_path / "a" / "b")[0] == 0


def test_a_disk_that_tells_nothing_of_its_size_is_not_full(tiny, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 0))
    recipe = load_recipe(tiny)
    assert disk.check_room(recipe, recipe.data.facts(), None) == []


def test_a_filled_run_folder_is_told_by_check_and_stays_a_run_error(tiny, tmp_path, capsys):
    recipe = write_recipe(tiny, tmp_path)
    code, _, err = call(capsys, "check", recipe, "--quick", "--out", tmp_path)
    assert code == 2
    assert "--out: " in err
    assert "nothing is overwritten" in err
    with pytest.raises(RunError, match="nothing is overwritten"):
        run(recipe, out=tmp_path)


def test_a_file_in_the_way_of_the_run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("mine")
    (problem,) = disk.check_folder(None, "tiny")
    assert (problem.path, problem.severity) == ("name", "error")
    assert f"{tmp_path / 'runs'} is a file" in problem.message
