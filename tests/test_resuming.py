"""What a run goes on with: its own settings, whatever version wrote the checkpoint, or its first step."""

import json
import os
import shutil

import pytest
import torch
from tiny import blobs, short

import imcswav
from imcswav import checkpoint
from imcswav.build import build_run
from imcswav.data.array import ArrayData
from imcswav.errors import RunError
from imcswav.recipe.files import load_recipe
from imcswav.resuming import differing, remembered
from imcswav.runs import RunFolder
from imcswav.trainer import NEEDED

resource = pytest.importorskip("resource")
DATA = ArrayData.of(blobs()[0])
CALM = {"heads.prototypes.freeze_steps": 0, "evaluation.plots": False}


@pytest.fixture
def stopped(tiny, tmp_path):
    """A run of four epochs cut off when two were done."""
    cut(tiny, tmp_path / "run", epochs=4)
    return tmp_path / "run"


def recipe(tiny, **trainer):
    return load_recipe(short(tiny, **trainer), CALM | {"data.name": "array"})


def cut(tiny, out, after=2, **trainer):
    made, _ = build_run(recipe(tiny, **trainer), out=out, data=DATA)
    call = made.call

    def calling(hook, *arguments):
        call(hook, *arguments)
        if hook == "end_epoch" and made.epoch == after:
            raise ZeroDivisionError

    made.call = calling
    with pytest.raises(ZeroDivisionError):
        made.fit()
    return made


def change(run, edit):
    for path in checkpoint.saved(run / "checkpoints"):
        state = torch.load(path, weights_only=True)
        edit(state)
        torch.save(state, path)


def final(run):
    return checkpoint.load_latest(run / "checkpoints")["learner"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_killed_before_its_first_checkpoint_begins_again_in_its_folder(tiny, tmp_path):
    build_run(recipe(tiny), out=tmp_path / "run", data=DATA)
    (tmp_path / "run" / "environment.json").unlink()
    imcswav.resume(tmp_path / "run", data=DATA)
    imcswav.run(short(tiny), CALM, out=tmp_path / "whole", data=DATA)
    assert same(final(tmp_path / "run"), final(tmp_path / "whole"))
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["imcswav"] == imcswav.__version__
    assert "resumed" not in environment


def test_settings_that_differ_are_named(stopped):
    file = stopped / "recipe.toml"
    text = file.read_text().replace("lr = 0.001", "lr = 0.002").replace("seed = 0", "seed = 1", 1)
    file.write_text(text)
    with pytest.raises(RunError) as caught:
        imcswav.resume(stopped, data=DATA)
    assert "doesn't fit its recipe" in str(caught.value)
    assert "optimizer.lr was 0.001 and is now 0.002" in str(caught.value)
    assert "seed was 0 and is now 1" in str(caught.value)


def test_what_is_free_may_change(stopped):
    file = stopped / "recipe.toml"
    file.write_text(file.read_text().replace("epochs = 4", "epochs = 3").replace("log_every = 1", "log_every = 5"))
    assert imcswav.resume(stopped, data=DATA).summary["epochs"] == 3


def test_other_versions_have_other_settings(tiny):
    now = remembered(load_recipe(tiny))
    assert differing(now, now) == ""
    old = {path: value for path, value in now.items() if path != "optimizer.lr"} | {"optimizer.gone": "1"}
    assert differing(old, now) == "optimizer.gone was 1 and is now absent; optimizer.lr was absent and is now 0.001"
    assert differing(old | {"": "0.0.1"}, now) == ""
    assert differing(old | {"": "0.0.1", "seed": "7"}, now) == "seed was 7 and is now 0"
    many = differing({}, {str(number): "1" for number in range(5)})
    assert many.endswith("; and 2 more")


def test_a_checkpoint_of_an_earlier_version_loads(stopped):
    later = ("recipe", "stopped", "logged")
    change(stopped, lambda state: [state.pop(name) for name in later])
    assert imcswav.resume(stopped, data=DATA).summary["epochs"] == 4


@pytest.mark.parametrize("name", NEEDED)
def test_one_that_does_not_load_says_what_it_lacks(stopped, name):
    change(stopped, lambda state: state.pop(name))
    with pytest.raises(RunError, match=f"has no {name}: another version wrote it; go on with that version"):
        imcswav.resume(stopped, data=DATA)


def test_a_torn_checkpoint_is_told_and_the_one_before_taken(tiny, stopped, tmp_path):
    newest = checkpoint.saved(stopped / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"Damaged, so step-000000004\.pt is taken instead: step-000000008\.pt: "):
        imcswav.resume(stopped, data=DATA)
    imcswav.run(short(tiny, epochs=4), CALM, out=tmp_path / "whole", data=DATA)
    assert same(final(stopped), final(tmp_path / "whole"))


def test_a_disk_that_is_full_leaves_the_last_checkpoint(tiny, stopped, tmp_path):
    before = [path.read_bytes() for path in checkpoint.saved(stopped / "checkpoints")]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before[0]) // 2, hard))  # the system itself refuses longer files
    try:
        with pytest.raises(RunError, match=r"can't be written any more \(.*\); make room .*imcswav resume"):
            imcswav.resume(stopped, data=DATA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.read_bytes() for path in checkpoint.saved(stopped / "checkpoints")] == before
    assert not [name for name in os.listdir(stopped / "checkpoints") if name.endswith(".tmp")]
    imcswav.resume(stopped, data=DATA)
    imcswav.run(short(tiny, epochs=4), CALM, out=tmp_path / "whole", data=DATA)
    assert same(final(stopped), final(tmp_path / "whole"))


def test_a_folder_deleted_under_the_run_does_not_come_back(tiny, tmp_path):
    out = tmp_path / "run"
    made, _ = build_run(recipe(tiny, epochs=4), out=out, data=DATA)
    step = made.learner.after_step

    def after_step(progress):
        step(progress)
        if progress.step == 5:
            shutil.rmtree(out)

    made.learner.after_step = after_step
    with pytest.raises(RunError, match="was deleted or moved under the run; start a new one"):
        imcswav.api.complete(made)
    assert not out.exists()


def test_a_folder_deleted_before_the_results_does_not_come_back(tiny, tmp_path):
    made, _ = build_run(recipe(tiny), out=tmp_path / "run", data=DATA)
    made.fit()
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RunError, match="was deleted or moved"):
        imcswav.results.artefacts.finish(made)
    assert not (tmp_path / "run").exists()


def test_a_run_cut_off_after_its_summary_writes_the_rest_again(tiny, tmp_path, monkeypatch):
    def killed(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr("imcswav.callbacks.Callback.finish", killed)
    made, _ = build_run(recipe(tiny), out=tmp_path / "run", data=DATA)
    with pytest.raises(ZeroDivisionError):
        imcswav.api.complete(made)
    (tmp_path / "run" / "run.lock").write_text("")  # a kill leaves the lock
    assert not RunFolder(tmp_path / "run").finished
    monkeypatch.undo()
    rows = (tmp_path / "run" / "metrics.jsonl").read_text()
    imcswav.resume(tmp_path / "run", data=DATA)
    assert RunFolder(tmp_path / "run").finished
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == rows
