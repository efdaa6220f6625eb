"""A second stage: what of a finished run the network starts from, what is told, and that it happens once."""

import hashlib
import json
import shutil

import pytest
import torch
from conftest import TINY
from safetensors.torch import load_file, save_file
from test_trainer import StopAfter, assert_same, weights

import imcswav
from imcswav.build import build_run
from imcswav.check import check_recipe
from imcswav.errors import RecipeError
from imcswav.recipe.files import load_recipe
from imcswav.start import find_start

LOSSES = [{"name": "self_label"}, {"name": "swav", "weight": 0.1}, {"name": "imc", "weight": 0.1}]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return imcswav.run(TINY, {"trainer.max_steps": 4}, out=tmp_path_factory.mktemp("first") / "run").path


@pytest.fixture
def second(tiny, first):
    tiny["init"] = {"run": str(first)}
    tiny["views"] = {"name": "strong", "size": 8, "count": 2, "flip": 0.0, "operations": 2}
    tiny["heads"]["classifier"]["detach"] = False
    return tiny | {"losses": LOSSES, "learner": {"teacher": {"momentum": 0.9}}}


def built(recipe, out, **changes):
    trainer, problems = build_run(load_recipe(recipe, changes), out=out)
    return trainer, [problem for problem in problems if problem.path == "init.run"]


def trained(run):
    return imcswav.load(run, "cpu").learner.state_dict()


def test_every_part_starts_from_the_run_and_the_teacher_from_the_trained_network(second, first, tmp_path):
    trainer, problems = built(second, tmp_path / "run")
    assert problems == []
    ours, theirs = trainer.learner.state_dict(), trained(first)
    names = [name for name in ours if not name.startswith(("losses.", "teacher."))]
    assert names
    assert all(torch.equal(ours[name], theirs[name]) for name in names)
    taught = [name for name in ours if name.startswith("teacher.")]
    assert {name.split(".")[1] for name in taught} == {"backbone", "heads"}
    assert all(torch.equal(ours[name], theirs[name.removeprefix("teacher.")]) for name in taught)
    origin = json.loads((tmp_path / "run" / "environment.json").read_text())["init"]
    assert origin["run"] == str(first)
    assert origin["sha256"] == hashlib.sha256((first / "model" / "weights.safetensors").read_bytes()).hexdigest()
    assert origin["parts"][:2] == ["backbone", "heads.projection"]
    assert load_recipe(tmp_path / "run" / "recipe.toml").init.run == first


def test_a_run_s_own_teacher_is_taken_where_its_model_has_one(second, tmp_path):
    done = imcswav.run(
        second, {"learner.assignment": "teacher.classifier", "trainer.max_steps": 3}, out=tmp_path / "taught"
    ).path
    trainer, problems = built(second, tmp_path / "run", **{"init.run": str(done)})
    assert problems == []
    ours, theirs = trainer.learner.state_dict(), trained(done)
    weight = next(name for name in ours if name.startswith("backbone."))
    assert torch.equal(ours[f"teacher.{weight}"], theirs[f"teacher.{weight}"])
    assert torch.equal(ours[weight], theirs[weight])
    assert not torch.equal(ours[weight], ours[f"teacher.{weight}"])


def test_a_run_whose_learner_is_gone_is_started_from_all_the_same(second, first, tmp_path):
    strange = shutil.copytree(first, tmp_path / "strange")
    config = json.loads((strange / "model" / "config.json").read_text())
    config["learner"]["name"] = "gone"
    (strange / "model" / "config.json").write_text(json.dumps(config))
    trainer, (told,) = built(second, tmp_path / "run", **{"init.run": str(strange)})
    assert told.severity == "warning"
    assert "mean and std of their images can't be told" in told.message
    weight = next(name for name in trainer.learner.state_dict() if name.startswith("backbone."))
    assert torch.equal(trainer.learner.state_dict()[weight], trained(first)[weight])


def test_what_is_drawn_after_a_start_does_not_depend_on_it(second, tmp_path):
    state = []
    for name, recipe in {"second": second, "fresh": {k: v for k, v in second.items() if k != "init"}}.items():
        built(recipe, tmp_path / name)
        state.append(torch.get_rng_state())
    assert torch.equal(*state)


def test_images_seen_otherwise_than_by_the_run_are_told(second, first, tmp_path):
    mean, std = (list(values) for values in imcswav.load(first, "cpu").learner.normalization())
    assert built(second, tmp_path / "same", **{"views.mean": mean, "views.std": std})[1] == []
    assert built(second, tmp_path / "near", **{"views.mean": [mean[0] + 0.09 * std[0], *mean[1:]]})[1] == []
    for change in {"views.mean": [0.9] * len(mean)}, {"views.std": [0.9] * len(mean)}:
        _, (told,) = built(second, tmp_path / next(iter(change)), **change)
        assert told.severity == "warning"
        assert f"the run {first} normalised its images by mean [{mean[0]:.3g}" in told.message
        assert "0.9" in told.message.partition("this recipe does by")[2]


def test_what_does_not_fit_is_told_once_and_starts_anew(second, first, tmp_path):
    second["clusters"] = 4
    second["heads"]["extra"] = {"name": "mlp", "width": 5}
    fresh = {name: value for name, value in second.items() if name != "init"}
    plain, _ = built(fresh, tmp_path / "plain")
    trainer, (told,) = built(second, tmp_path / "run")
    assert told.severity == "warning"
    assert str(first) in told.message
    assert (
        "heads.classifier, teacher.heads.classifier: 2 of another shape (layers.3.weight (3, 8) instead of (4, 8), "
        "layers.3.bias (3,) instead of (4,)); heads.extra: not there" in told.message
    )
    assert "heads.projection" not in told.message
    assert [one for one in check_recipe(load_recipe(second)) if one.path == "init.run"] == [told]
    ours, without, theirs = trainer.learner.state_dict(), plain.learner.state_dict(), trained(first)
    for name, value in ours.items():  # a head is taken as a whole or not at all
        anew = "heads.classifier" in name or "heads.extra" in name or name.startswith("losses.")
        source = without[name] if anew else theirs[name.removeprefix("teacher.")]
        assert torch.equal(value, source), name
    parts = json.loads((tmp_path / "run" / "environment.json").read_text())["init"]["parts"]
    assert "heads.classifier" not in parts


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"backbone.widths": [10]}, "the backbone of the run .* fit: backbone, teacher.backbone: .* another shape"),
        ({"backbone.widths": [8, 8], "backbone.strides": [2, 1]}, "the backbone of the run .* doesn't fit: .* missing"),
        ({"backbone.widths": [10], "heads.projection.hidden": [9], "heads.projection.width": 9,
          "heads.classifier.hidden": [9]}, "nothing of the run .* fits the learner"),
    ],
)  # fmt: skip
def test_a_backbone_that_does_not_fit_is_an_error(second, tmp_path, change, told):
    with pytest.raises(RecipeError, match=rf"init\.run: {told}"):
        built(second, tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


def test_a_deeper_run_s_backbone_is_not_cut_short(first, tmp_path):
    learner = imcswav.load(first).learner
    assert find_start(first, learner).problems() == []
    deeper = shutil.copytree(first, tmp_path / "deeper") / "model" / "weights.safetensors"
    save_file(load_file(deeper) | {"learner.backbone.further.weight": torch.zeros(1)}, deeper)
    (problem,) = find_start(tmp_path / "deeper", learner).problems()
    assert problem.severity == "error"
    assert "backbone: 1 unknown to the model (further.weight)" in problem.message


def test_missing_and_unfinished_runs_are_problems_of_the_check(second, first, tmp_path):
    def problems(run):
        recipe = load_recipe(second, {"init.run": str(run)})
        return [str(problem) for problem in check_recipe(recipe) if problem.path == "init.run"]

    assert problems(first) == []
    (missing,) = problems(tmp_path / "nowhere")
    assert "nowhere is no run folder" in missing
    trainer, _ = built(second, tmp_path / "begun")
    (unfinished,) = problems(trainer.run.path)
    assert f"isn't finished; end it first: imcswav resume {trainer.run.path}" in unfinished
    trainer.run.write_text("summary.json", "{}")
    (empty,) = problems(trainer.run.path)
    assert "can't be read" in empty


def test_a_resumed_run_does_not_load_it_again_and_ends_with_the_same_bits(second, first, tmp_path, monkeypatch):
    whole = imcswav.run(second, out=tmp_path / "whole")
    trainer, _ = built(second, tmp_path / "stopped")
    StopAfter(trainer, 9)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    origin = json.loads((tmp_path / "stopped" / "environment.json").read_text())["init"]
    monkeypatch.setattr("imcswav.build.find_start", lambda *given: pytest.fail("loaded again"))
    resumed = imcswav.resume(tmp_path / "stopped")
    assert_same(weights(whole.path), weights(resumed.path))
    assert json.loads((tmp_path / "stopped" / "environment.json").read_text())["init"] == origin
    assert_differs(trained(first), trained(whole.path))


def assert_differs(one, other):
    assert any(not torch.equal(one[name], other[name]) for name in one if name.startswith("backbone."))


def test_a_backbone_s_own_starting_weights_are_left_alone(second, monkeypatch, tmp_path):
    from imcswav.backbones.small_resnet import SmallResNet

    calls = []
    inner = SmallResNet.Config.restored
    monkeypatch.setattr("imcswav.build.check_run", lambda *given: [])  # it counts weights without loading any
    monkeypatch.setattr("imcswav.build.check_memory", lambda *given: [])  # it counts weights without loading any
    monkeypatch.setattr(SmallResNet.Config, "restored", lambda self: calls.append(self) or inner(self))
    built(second | {"init": None}, tmp_path / "plain")
    assert calls == []
    built(second, tmp_path / "run")
    assert calls
