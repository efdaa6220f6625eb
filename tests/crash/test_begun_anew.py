"""Killed before the first checkpoint: a run, a series of seeds and a ladder begin anew in their folders, and say so."""

import copy

import pytest
import tomli_w
from cli_calls import call
from conftest import TINY
from tiny import blobs, short

import imcswav
from imcswav.data.array import ArrayData
from imcswav.errors import RunError
from imcswav.learners.multiview import MultiView
from imcswav.results.ladder import run_ladder
from imcswav.results.seeds import resume_seeds, run_seeds
from imcswav.results.series import read
from imcswav.runs import RunFolder

CALM = {"evaluation.plots": False, "evaluation.signals": False, "callbacks.console.enabled": False}
MOMENTS = {
    "before the folder": (RunFolder, "create"),
    "before the environment": (RunFolder, "write_environment"),
    "in the first step": (MultiView, "after_step"),
}


class Killed(BaseException):
    pass


@pytest.fixture(params=MOMENTS)
def killed(request, monkeypatch):
    """Does what ends at a moment before the first checkpoint; whether the run's recipe was written by then."""

    def die(*arguments, **keywords):
        raise Killed

    def killing(work):
        with monkeypatch.context() as patched:
            patched.setattr(*MOMENTS[request.param], die)
            with pytest.raises(Killed):
                work()
        return request.param != "before the folder"

    return killing


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return assigned(imcswav.run(recipe(), CALM, out=tmp_path_factory.mktemp("whole") / "run", data=images()).path)


def recipe():
    return short(copy.deepcopy(TINY))


def images():
    pixels, labels = blobs()
    return ArrayData.of(pixels, labels=labels)


def assigned(run):
    return (run / "model" / "weights.safetensors").read_bytes(), (run / "assignments.csv").read_text()


def told(caught):
    return [str(one.message) for one in caught if "begins anew" in str(one.message)]


def test_a_series(killed, whole, tmp_path, recwarn):
    out = tmp_path / "seeds"
    begun = killed(lambda: run_seeds(recipe(), "0-1", CALM, out=out, data=images()))
    assert list(run_seeds(recipe(), "0-1", CALM, out=out, data=images(), resume=True).runs) == [0, 1]
    assert read(out)["runs"] == {"0": "seed-0", "1": "seed-1"}
    assert assigned(out / "seed-0") == whole
    said = f"{out / 'seed-0'} has no checkpoint yet, so the run begins anew there."
    assert told(recwarn) == [said] * begun


def test_a_series_by_its_folder_alone(killed, whole, tmp_path):
    killed(lambda: run_seeds(recipe(), "0", CALM, out=tmp_path / "seeds", data=images()))
    resume_seeds(tmp_path / "seeds", data=images())
    assert assigned(tmp_path / "seeds" / "seed-0") == whole


def test_a_ladder(killed, whole, tmp_path, recwarn):
    (steps := tmp_path / "steps").mkdir()
    (steps / "a.toml").write_text(tomli_w.dumps(recipe()))
    begun = killed(lambda: run_ladder(steps, "0", CALM, out=tmp_path / "out", data=images()))
    run_ladder(steps, "0", CALM, out=tmp_path / "out", data=images(), resume=True)
    assert assigned(tmp_path / "out" / "a" / "seed-0") == whole
    assert len(told(recwarn)) == begun


@pytest.mark.parametrize("words", [["--resume"], ["--seeds", "0-1", "--resume"]])
def test_the_command(words, tmp_path, capsys, monkeypatch):
    """As after Ctrl-C while the first step is under way."""
    monkeypatch.chdir(tmp_path)
    tables = recipe() | {"data": {"name": "digits", "size": 8}}
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(tables))
    command = ["run", "mine.toml", "--set", "trainer.max_steps=2", "--set", "evaluation.plots=false"]
    with monkeypatch.context() as patched:
        patched.setattr(MultiView, "after_step", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        assert call(capsys, *command, *words[:-1])[0] == 130
    with pytest.warns(UserWarning, match=r"has no checkpoint yet, so the run begins anew there\.$"):
        code, _, err = call(capsys, *command, *words)
    assert code == 0, err
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    runs = [folder / f"seed-{seed}" for seed in (0, 1)] if "--seeds" in words else [folder]
    assert all(RunFolder(run).finished for run in runs)


def test_what_somebody_put_there_stays(tmp_path):
    """A run that came to results, without its checkpoints, and files beside one that did not."""
    run = imcswav.run(recipe(), CALM, out=tmp_path / "run", data=images()).path
    for checkpoint in (run / "checkpoints").iterdir():
        checkpoint.unlink()
    (run / "summary.json").unlink()
    before = assigned(run)
    with pytest.raises(RunError, match="has results and no checkpoint to go on from; nothing is overwritten: start a"):
        imcswav.resume(run, data=images())
    assert assigned(run) == before
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.toml").write_text((run / "recipe.toml").read_text())
    (tmp_path / "begun" / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match="begins anew there"):
        imcswav.resume(tmp_path / "begun", data=images())
    assert (tmp_path / "begun" / "notes.txt").read_text() == "mine"
