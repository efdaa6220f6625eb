"""Steps that are timed, and what a batch takes of a device's memory."""

import itertools
import json

import pytest
import torch
from cli_calls import call, write_recipe

from imcswav import console, cost, trial
from imcswav.engine import Engine
from imcswav.errors import ImcswavError
from imcswav.preflight import preflight
from imcswav.recipe.files import load_recipe

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def costing(operations):
    return cost.Cost(parameters=1, operations=operations, images=1797, steps_per_epoch=7, steps=21, memory=10**6)


def test_a_cpu_takes_as_many_images_as_some_seconds_of_work_have(tiny):
    recipe = load_recipe(tiny)
    for operations, images in ((1.0, 256), (trial.CPU_OPERATIONS / 7, 7), (1e15, 2), (0.0, 256)):
        assert trial.images_of(recipe, costing(operations), CPU) == images
        assert trial.images_of(recipe, costing(operations), CUDA) == 256


def test_seconds_are_the_median_of_the_timed_steps_in_proportion_to_the_batch(tiny, monkeypatch):
    passed = itertools.accumulate([0, 9, 0, 1, 0, 4, 0, 2])  # a step that warms up, then three of 1, 4 and 2 seconds
    monkeypatch.setattr(trial.time, "perf_counter", lambda: float(next(passed)))
    found, problems = trial.try_steps(load_recipe(tiny), costing(trial.CPU_OPERATIONS / 64))
    assert problems == []
    assert (found.images, found.batch, found.timed) == (64, 256, 3)
    assert found.seconds == 2 * 256 / 64
    assert (found.device, found.memory) == ("cpu", None)


@pytest.mark.parametrize(
    ("seconds", "timed", "step"), [([15, 6, 1], 1, 6), ([90, 2, 1], 1, 2), ([1, 9, 12, 1], 2, 10.5)]
)
def test_after_twenty_seconds_no_further_step_is_begun(tiny, monkeypatch, seconds, timed, step):
    passed = itertools.accumulate(itertools.chain.from_iterable((0, one) for one in seconds))
    monkeypatch.setattr(trial.time, "perf_counter", lambda: float(next(passed)))
    found, _ = trial.try_steps(load_recipe(tiny), costing(1.0))
    assert (found.timed, found.seconds) == (timed, step)


def test_steps_are_the_recipes_own_and_leave_the_data_alone(tiny, monkeypatch):
    steps = []
    step = Engine.step
    monkeypatch.setattr("imcswav.data.digits.Digits.__init__", pytest.fail)
    monkeypatch.setattr(Engine, "step", lambda self, *given: steps.append(given) or step(self, *given))
    trial.try_steps(load_recipe(tiny), costing(1.0))
    assert [tuple(batch.images.shape) for batch, _ in steps] == [(256, 1, 8, 8)] * 4
    assert [(progress.step, progress.steps) for _, progress in steps] == [(0, 21), (1, 21), (2, 21), (3, 21)]


def test_memory_that_runs_out_is_a_problem_of_the_batch(tiny, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("tried to allocate 3 GiB")

    monkeypatch.setattr(Engine, "step", full)
    found, (problem,) = trial.try_steps(load_recipe(tiny), costing(1.0))
    assert found is None
    assert (problem.severity, problem.path, problem.value) == ("error", "trainer.batch_size", 256)
    assert "learner.micro_batch" in problem.remedy


@pytest.mark.parametrize(
    ("error", "path"), [(ImcswavError("can't be recorded."), "trainer"), (RuntimeError("no kernel"), "learner")]
)
def test_a_step_that_fails_is_a_problem(error, path, tiny, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(Engine, "step", fail)
    found, (problem,) = trial.try_steps(load_recipe(tiny), costing(1.0))
    assert (found, problem.path, problem.severity) == (None, path, "error")
    assert str(error) in problem.message


@pytest.mark.parametrize(("memory", "severity"), [(89, None), (91, "warning"), (100, "warning"), (101, "error")])
def test_measured_memory_against_what_was_free(memory, severity, tiny):
    found = trial.Trial("cuda", 1.0, 3, 256, 256, memory * 10**9, 100 * 10**9)
    problems = trial.check_memory(load_recipe(tiny), found)
    assert [one.severity for one in problems] == ([severity] if severity else [])
    if problems:
        assert problems[0].message == f"training in batches of 256 takes {memory}.0 GB of the 100.0 GB free on cuda."


def test_estimated_memory_only_warns(tiny):
    recipe = load_recipe(tiny)
    assert trial.check_estimate(recipe, 5, 5.0, CPU) == []
    assert [one.severity for one in trial.check_estimate(recipe, 6, 5.0, CPU)] == ["warning"]


def test_images_count_where_they_lie(tiny, monkeypatch):
    recipe = load_recipe(tiny)
    facts = recipe.data.facts()
    monkeypatch.setattr("imcswav.imaging.placement.free_memory", lambda device: 10.0**12)
    assert trial._images_there(recipe, facts, CUDA) == 1797 * 8 * 8
    monkeypatch.setattr("imcswav.imaging.placement.free_memory", lambda device: 10.0)
    assert trial._images_there(recipe, facts, CUDA) == 0


def test_quick_takes_no_step(tiny, monkeypatch):
    monkeypatch.setattr(Engine, "step", pytest.fail)
    found = preflight(tiny, steps=False)
    assert (found.errors, found.trial) == ([], None)
    assert found.cost is not None


def test_a_recipe_that_trains_nothing_takes_none(tiny, monkeypatch):
    monkeypatch.setattr(Engine, "step", pytest.fail)
    assert preflight(tiny, ["trainer.epochs=0"]).trial is None


def test_warnings_are_no_errors_and_all_is_in_the_file(tiny, tmp_path, capsys):
    recipe, file = write_recipe(tiny, tmp_path), tmp_path / "found.json"
    code, out, err = call(capsys, "check", recipe, "--set", "trainer.max_steps=2", "--json", file)
    assert code == 0
    assert "no errors, 1 warning" in out
    assert err.startswith("Warning: ")
    assert "freeze_steps" in err
    found = json.loads(file.read_text())
    assert (found["errors"], found["cost"]["steps"], found["trial"]["timed"]) == ([], 2, 3)
    assert found["warnings"][0]["path"] == "heads.prototypes.freeze_steps"
    code, _, err = call(capsys, "check", recipe, "--json", file)
    assert code == 2
    assert "exists" in err


def test_errors_are_in_the_file_too_and_warnings_are_still_told(tiny, tmp_path, capsys):
    recipe, file = write_recipe(tiny, tmp_path), tmp_path / "found.json"
    words = ("--set", "trainer.max_steps=2", "--set", "trainer.cuda_graph=true", "--json", file)
    code, _, err = call(capsys, "check", recipe, *words)
    assert code == 2
    assert "freeze_steps" in err
    assert [one["path"] for one in json.loads(file.read_text())["errors"]] == ["trainer.cuda_graph"]


def test_what_only_building_tells_has_a_line_too(tiny, tmp_path):
    recipe = write_recipe(tiny, tmp_path)
    with recipe.open("a") as file:
        file.write('\n[[optimizer.groups]]\nmatch = "nothing.*"\n')
    line = len(recipe.read_text().splitlines())
    (problem,) = preflight(recipe).errors
    assert problem.where == f"{recipe}:{line}"
    assert problem.path == "optimizer.groups.0.match"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.1, "1 second"),
        (89, "89 seconds"),
        (91, "2 minutes"),
        (5399, "90 minutes"),
        (5400, "2 hours"),
        (3e5, "3 days"),
    ],
)
def test_times_are_round(seconds, words):
    assert console.about(seconds) == f"about {words}"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_a_whole_batch_on_cuda(tiny, monkeypatch):
    recipe = load_recipe(tiny, ["trainer.device=cuda", "trainer.compile=false"])
    found, problems = trial.try_steps(recipe, cost.estimate(recipe))
    assert [one for one in problems if one.severity == "error"] == []
    assert found.images == 256
    assert 4 * cost.estimate(recipe).parameters < found.memory < found.free
    monkeypatch.setattr(trial, "free_memory", lambda device: 1000.0)
    _, problems = trial.try_steps(recipe, cost.estimate(recipe))
    assert [one.path for one in problems if one.severity == "error"] == ["trainer.batch_size"]
