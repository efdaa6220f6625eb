"""What goes wrong by a recipe's settings is named first, a healthy run raises nothing, and what a finding leaves."""

import copy
import json

import pytest
import torch
from cli_calls import call
from test_trainer import StopAfter

import imcswav
from imcswav import checkpoint
from imcswav.build import build_run, restore_run
from imcswav.errors import RunError
from imcswav.recipe.files import dump_recipe, load_recipe
from imcswav.runs import RunFolder

QUICK = {
    "name": "quick",
    "clusters": 10,
    "data": {"name": "digits", "size": 8},
    "views": {"name": "multicrop", "crops": [{"count": 2, "size": 8, "scale": [0.6, 1.0]}], "flip": 0.0,
              "grey": 0.0, "jitter": 0.0},
    "backbone": "pixels",
    "heads": {
        "projection": {"name": "mlp", "hidden": [64], "norm": "batch", "width": 16},
        "prototypes": {"name": "prototypes", "input": "projection", "count": 32},
        "classifier": {"name": "mlp", "hidden": [64], "norm": "batch", "width": "clusters", "detach": True},
    },
    "losses": [{"name": "swav", "solver": {"name": "sinkhorn"}}, {"name": "imc"}],
    "optimizer": {"name": "adam", "lr": 5e-3},
    "trainer": {"epochs": 9, "batch_size": 128, "log_every": 10, "device": "cpu", "threads": 1, "precision": "fp32"},
    "callbacks": {name: {"enabled": False} for name in ("console", "tensorboard", "evaluate")},
}  # fmt: skip
"""Digits by their pixels and two small heads: a second for 126 steps, a few more than the shortest patience."""
PROVOKED = {
    "epsilon too large": ({"losses.0.solver.epsilon": 1.0}, "codes_say_nothing", "losses.0.solver.epsilon (1.0)"),
    "temperature too small": ({"losses.0.temperature": 0.001}, "codes_say_nothing", "losses.0.temperature (0.001)"),
    "prototypes and batch": ({"heads.prototypes.count": 1000}, "too_many_prototypes", "trainer.batch_size (128)"),
    "rate times 100": ({"optimizer.lr": 0.5}, "weights_grow", "optimizer.lr (0.5)"),
    "no entropy": ({"losses.1.entropy_weight": 0.0}, "clusters_die", "losses.1.entropy_weight (0.0)"),
    "no balance": ({"losses.0.solver": {"name": "softmax"}}, "prototypes_die", 'losses.0.solver.name = "sinkhorn"'),
}


def trained(out, **changes):
    trainer, _ = build_run(load_recipe(copy.deepcopy(QUICK), changes), out=out)
    trainer.fit()
    return trainer


def kept(run):
    return json.loads((run / "health.json").read_text())["findings"]


def logged(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("trouble", PROVOKED)
def test_the_cause_is_named_first(tmp_path, trouble):
    changes, rule, said = PROVOKED[trouble]
    trained(tmp_path / "run", **{"callbacks.checkpoint.enabled": False, **changes})
    found = kept(tmp_path / "run")
    assert found[0]["rule"] == rule
    assert said in found[0]["text"]
    marks = [(row["step"], name) for row in logged(tmp_path / "run") for name in row if name.startswith("finding/")]
    assert marks == [(finding["step"], f"finding/{finding['rule']}") for finding in found]


def test_a_healthy_run_raises_nothing_and_says_so(tmp_path, capsys):
    done = imcswav.run(copy.deepcopy(QUICK), {"callbacks.console.enabled": True}, out=tmp_path / "run")
    assert kept(done.path) == []
    assert "Warning" not in capsys.readouterr().err
    looks = [row for row in logged(done.path) if "health/feature_std" in row]
    assert [row["step"] for row in looks] == list(range(14, 127, 14))
    assert all(0 <= row["health/churn"] <= 1 for row in looks[1:])
    assert all(row["gradient_norm"] > 0 and row["weight_norm"] > 0 for row in logged(done.path) if "loss" in row)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_recipe_digits_raises_nothing(tmp_path, seed):
    done = imcswav.run("digits", {"seed": seed, "callbacks.tensorboard.enabled": False}, out=tmp_path / "run")
    assert kept(done.path) == []


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["epsilon too large", "rate times 100", "no entropy", "no balance"])
def test_the_cause_is_named_in_the_recipe_digits(tmp_path, trouble):
    changes, rule, said = PROVOKED[trouble]
    short = {"trainer.max_steps": 200, "callbacks.tensorboard.enabled": False}
    trainer, _ = build_run(load_recipe("digits", {**short, **changes}), out=tmp_path / "run")
    trainer.fit()
    assert kept(tmp_path / "run")[0]["rule"] == rule
    assert said in kept(tmp_path / "run")[0]["text"]


def test_a_warning_is_shown_once_and_stands_in_the_report(tmp_path, capsys):
    changes = {"optimizer.lr": 0.5, "trainer.epochs": 3, "callbacks.console.enabled": True, "callbacks.clustering": {}}
    done = imcswav.run(copy.deepcopy(QUICK), changes, out=tmp_path / "run")
    [finding] = kept(done.path)
    assert capsys.readouterr().err.count(f"Warning: {finding['text']}") == 1
    page = (done.path / "report.html").read_text()
    assert f"Step {finding['step']}: {finding['text']}" in page
    assert "no sign of trouble" not in page


def test_a_collapse_can_stop_the_run(tmp_path, capsys):
    file = tmp_path / "quick.toml"
    changes = {"losses.1.entropy_weight": 0.0, "callbacks.health.on_collapse": "stop", "trainer.epochs": 20}
    changes["callbacks.console.enabled"] = True
    file.write_text(dump_recipe(load_recipe(copy.deepcopy(QUICK), changes)))
    code, _, printed = call(capsys, "run", file, "--out", tmp_path / "run")
    assert code == 2
    told = " ".join(printed.split())
    assert "Clusters die" in told
    assert 'callbacks.health.on_collapse is "stop"; its last checkpoint is kept' in told
    assert told.count("Clusters die") == 1  # by the error, not by a warning before it too
    assert not (tmp_path / "run" / "summary.json").exists()
    [finding] = kept(tmp_path / "run")
    assert checkpoint.load_latest(tmp_path / "run" / "checkpoints")["step"] == finding["step"] // 14 * 14


def test_what_is_no_collapse_stops_nothing(tmp_path):
    changes = {"heads.prototypes.count": 1000, "callbacks.health.on_collapse": "stop", "trainer.epochs": 9}
    assert trained(tmp_path / "run", **changes).step == 126
    assert [finding["collapse"] for finding in kept(tmp_path / "run")] == [False]


@pytest.mark.parametrize("where", ["loss", "weights"])
def test_no_number_ends_the_run_and_the_last_good_checkpoint_stays(tmp_path, where):
    """In the second epoch's last step, after which a checkpoint is due: weights break there without the loss."""
    trainer, _ = build_run(load_recipe(copy.deepcopy(QUICK), {"trainer.epochs": 3}), out=tmp_path / "run")
    first = {"loss": 20, "weights": 27}[where]
    inner = trainer.learner.after_step

    def broken(progress):
        inner(progress)
        if progress.step == first:
            weight = trainer.learner.heads["projection"].get_parameter("layers.0.weight")
            weight.data[0, 0] = torch.nan

    trainer.learner.after_step = broken
    with pytest.raises(RunError, match=rf"{where} became nan") as caught:
        trainer.fit()
    trainer.call("close")
    assert "is kept" in str(caught.value)
    assert "optimizer.lr (0.005)" in str(caught.value)
    state = checkpoint.load_latest(tmp_path / "run" / "checkpoints")
    assert state["step"] == 14
    assert all(torch.isfinite(value).all() for value in state["learner"].values())
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000000014.pt"]
    assert [(finding["rule"], finding["text"]) for finding in kept(tmp_path / "run")] == [
        ("diverged", str(caught.value))
    ]
    assert logged(tmp_path / "run")[-1]["finding/diverged"] == 1.0


@pytest.mark.parametrize("stop", [60, 70, 125])  # within an epoch, at its end, after the finding
def test_a_resumed_run_finds_the_same(tmp_path, stop):
    changes = {"losses.1.entropy_weight": 0.0, "callbacks.checkpoint.enabled": True}
    trained(tmp_path / "whole", **changes)
    trainer, _ = build_run(load_recipe(copy.deepcopy(QUICK), changes), out=tmp_path / "stopped")
    StopAfter(trainer, stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    resumed = restore_run(RunFolder.open(tmp_path / "stopped"))
    resumed.fit()
    assert kept(tmp_path / "whole") == kept(tmp_path / "stopped") != []
    looks = [
        [row for row in logged(tmp_path / run) if any(name.startswith(("health/", "finding/")) for name in row)]
        for run in ("whole", "stopped")
    ]
    for one, other in zip(*looks, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
