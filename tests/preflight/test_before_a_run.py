"""What `run` checks first changes nothing in it."""

import numpy as np
import pytest
import torch
from tiny import blobs, short

import imcswav
from imcswav import build
from imcswav.check import check_run
from imcswav.engine import Engine
from imcswav.errors import RecipeError, RunError
from imcswav.recipe.files import load_recipe


def test_random_numbers_go_on_as_if_nothing_was_checked(tiny):
    tiny["backbone"] = {"name": "timm", "model": "test_resnet"}  # built to see whether its sizes fit
    torch.manual_seed(5)
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    check_run(load_recipe(tiny))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numbers)


def test_a_run_has_the_weights_of_one_without_checks(tiny, tmp_path, monkeypatch):
    def weights(name):
        result = imcswav.run(short(tiny, max_steps=3), data=blobs()[0], out=tmp_path / name, warn=print)
        return result.load("cpu").learner.state_dict()

    checked = weights("checked")
    monkeypatch.setattr(build, "check_run", lambda *_: [])
    plain = weights("plain")
    assert checked.keys() == plain.keys()
    assert all(torch.equal(checked[name], plain[name]) for name in plain)


def test_only_training_takes_steps(tiny, tmp_path, monkeypatch):
    steps, step = [], Engine.step
    monkeypatch.setattr(Engine, "step", lambda self, *given: steps.append(1) or step(self, *given))
    imcswav.run(short(tiny, max_steps=3), data=blobs()[0], out=tmp_path / "run", warn=print)
    assert len(steps) == 3


def test_mistakes_in_settings_hide_no_missing_data(tiny, tmp_path):
    tiny["data"] = {"name": "image_folder", "root": str(tmp_path / "nowhere")}
    tiny["optimizer"]["lr"] = -1
    with pytest.raises(RecipeError) as caught:
        imcswav.run(tiny, out=tmp_path / "run")
    assert [problem.path for problem in caught.value.problems] == ["optimizer.lr", "data.root"]
    assert not (tmp_path / "run").exists()


def test_with_images_from_python_settings_alone_are_told(tiny, tmp_path):
    tiny["optimizer"]["lr"] = -1
    with pytest.raises(RecipeError) as caught:
        imcswav.run(tiny, out=tmp_path / "run", data=blobs()[0])
    assert [problem.path for problem in caught.value.problems] == ["optimizer.lr"]


def test_memory_that_runs_out_while_training_is_a_sentence(tiny, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("tried to allocate 3 GiB")

    monkeypatch.setattr(Engine, "step", full)
    with pytest.raises(RunError, match=r"cpu has no memory left at step 0; .*trainer.batch_size"):
        imcswav.run(short(tiny, max_steps=3), data=blobs()[0], out=tmp_path / "run", warn=print)
