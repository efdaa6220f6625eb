"""The early end where clusters die: when it comes, what is left, and what is told."""

import json

import pytest
from test_trainer import StopAfter

import imcswav
from imcswav import api, checkpoint, console
from imcswav.build import build_run
from imcswav.health.facts import Facts
from imcswav.losses.imc import IMC
from imcswav.recipe.files import load_recipe

STEPS = 7  # an epoch's: 1,797 digits in batches of 256


def use(monkeypatch, clusters):
    """Let the loss log so many effective clusters from one step on to the next."""
    inner, calls = IMC.forward, []

    def forward(self, step):
        value = inner(self, step)
        calls.append(step)
        step.logs["imc/effective_clusters"] = value.detach() * 0 + clusters(len(calls) - 1)
        return value

    monkeypatch.setattr(IMC, "forward", forward)


@pytest.fixture
def recipe(tiny):
    tiny["callbacks"] |= {"collapse": {"share": 0.5}}
    return tiny


def test_the_training_ends_with_the_epoch_in_which_clusters_die(recipe, tmp_path, monkeypatch, capsys):
    use(monkeypatch, lambda step: 2.5 if step < STEPS else 1.2)  # less than 1.5 of 3 in the second epoch
    done = imcswav.run(recipe, {"callbacks.checkpoint.every": 10}, out=tmp_path / "run")
    told = done.summary["stopped"]
    assert told.startswith("Stopped after epoch 2 of 3, for clusters die: imc/effective_clusters is 1.2, less than 1.5")
    assert told in capsys.readouterr().err
    console.finished(done)
    assert told in " ".join(capsys.readouterr().out.split())
    assert (done.summary["epochs"], done.summary["steps"]) == (2, 2 * STEPS)
    assert checkpoint.load_latest(done.path / "checkpoints")["step"] == 2 * STEPS
    assert imcswav.load(done.path).clusters == 3
    rows = [json.loads(line) for line in (done.path / "metrics.jsonl").read_text().splitlines()]
    assert sum("eval/acc" in row for row in rows) == 1


@pytest.mark.parametrize("log_every", [1, 3, 50])
def test_the_mean_over_the_epoch_counts(recipe, tmp_path, monkeypatch, log_every):
    use(monkeypatch, lambda step: 1.0 if step % STEPS == STEPS - 1 else 2.0)
    whole = imcswav.run(recipe, {"trainer.log_every": log_every}, out=tmp_path / "run")
    assert (whole.summary["stopped"], whole.summary["epochs"]) == (None, 3)
    # a mean of 13 / 7 of 3 clusters
    stopped = imcswav.run(
        recipe, {"trainer.log_every": log_every, "callbacks.collapse.share": 0.63}, out=tmp_path / "other"
    )
    assert "is 1.86, less than 1.89, 63% of the 3;" in stopped.summary["stopped"]
    assert stopped.summary["epochs"] == 1


def test_a_stopped_run_is_not_trained_on_when_resumed(recipe, tmp_path, monkeypatch):
    use(monkeypatch, lambda step: 1.0)
    trainer, _ = build_run(load_recipe(recipe), out=tmp_path / "run")
    trainer.fit()
    trainer.call("close")  # and the power went
    monkeypatch.setattr("imcswav.trainer.Trainer._train_epoch", lambda self: pytest.fail("trained on"))
    resumed = api.resume(tmp_path / "run")
    assert resumed.summary["stopped"] == trainer.stopped
    assert resumed.summary["epochs"] == 1


def test_a_run_interrupted_as_it_collapses_counts_its_last_epoch(recipe, tmp_path, monkeypatch):
    use(monkeypatch, lambda step: 1.0)
    trainer, _ = build_run(load_recipe(recipe), out=tmp_path / "run")
    StopAfter(trainer, STEPS)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    resumed = api.resume(tmp_path / "run")
    assert resumed.summary["stopped"] == trainer.stopped is not None
    assert (resumed.summary["epochs"], resumed.summary["steps"]) == (1, STEPS)


def test_a_run_resumed_within_its_last_epoch_ends_it(tiny, tmp_path):
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "run")
    trainer.learner.after_step = lambda progress: progress.step == STEPS and trainer.stop("Told to.")
    StopAfter(trainer, STEPS + 2)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    resumed = api.resume(tmp_path / "run")
    assert resumed.summary["stopped"] == "Told to."
    assert (resumed.summary["epochs"], resumed.summary["steps"]) == (2, 2 * STEPS)


def test_without_a_figure_to_watch_it_says_so_once(recipe, tmp_path, capsys):
    recipe["losses"] = [{"name": "swav"}]
    done = imcswav.run(recipe, out=tmp_path / "run")
    assert done.summary["stopped"] is None
    assert capsys.readouterr().err.count("The callback collapse sees nothing") == 1


@pytest.mark.parametrize("stop", [1, 5, 6])
def test_an_interruption_changes_nothing_of_the_mean(recipe, tmp_path, monkeypatch, stop):
    """Of seven steps the first three have few clusters: by their mean with the rest, 2.14, the run goes on."""
    use(monkeypatch, lambda step: 1.0 if step % STEPS < 3 else 3.0)
    recipe["trainer"]["log_every"] = 4
    trainer, _ = build_run(load_recipe(recipe, {"callbacks.collapse.share": 0.7}), out=tmp_path / "run")
    StopAfter(trainer, stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    use(monkeypatch, lambda step: 1.0 if (step + stop) % STEPS < 3 else 3.0)
    assert api.resume(tmp_path / "run").summary["stopped"] is None
    means = [(1 + 1 + 1 + 3) / 4, 3.0]
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["imc/effective_clusters"] for row in rows if row["step"] in (4, 7) and "loss" in row] == means


def test_clusters_are_those_of_the_head_that_the_loss_reads(recipe, tmp_path):
    """A head of two clusters beside the one of three that assigns: two in use are all that it has."""
    recipe["heads"]["pair"] = recipe["heads"]["classifier"] | {"width": 2}
    recipe["losses"] = [{"name": "swav"}, {"name": "imc"}, {"name": "imc", "logits": "pair"}]
    done = imcswav.run(recipe, {"callbacks.collapse.share": 0.75}, out=tmp_path / "run")
    assert done.summary["stopped"] is None
    recipe["losses"][2]["entropy_weight"] = 0.0
    recipe["losses"][2]["weight"] = 30.0
    stopped = imcswav.run(recipe, {"callbacks.collapse.share": 0.999}, out=tmp_path / "other").summary["stopped"]
    assert "clusters die: imc.2/effective_clusters is 1." in stopped
    assert "100% of the 2" in stopped


def test_a_batch_bounds_what_can_be_filled(tmp_path, recipe, monkeypatch):
    trainer, _ = build_run(load_recipe(recipe), out=tmp_path / "run")
    callback = next(callback for callback in trainer.callbacks if callback.name == "collapse")
    monkeypatch.setattr(callback, "_facts", Facts(1000, {"trainer.batch_size": 256}, counted={"imc": 20}))
    assert [callback._clusters(f"{loss}/effective_clusters") for loss in ("imc", "other")] == [20, 256]


def test_two_of_one_kind_go_on_each_where_it_was(recipe, tmp_path):
    recipe["callbacks"] |= {"second": {"name": "collapse", "share": 0.1}}
    trainer, _ = build_run(load_recipe(recipe), out=tmp_path / "run")
    assert list(trainer.recipe.callbacks)[-1] == "checkpoint"  # it has what those before it counted
    first, second = (callback for callback in trainer.callbacks if callback.name == "collapse")
    trainer.call("start")
    first._logged, second._logged = 1, 2
    trainer.save()
    trainer.checkpoints.wait()
    state = checkpoint.load_latest(trainer.run.checkpoints)
    assert [state["callbacks"][name]["logged"] for name in ("collapse", "collapse.2")] == [1, 2]
    first._logged = second._logged = None
    trainer.restore(state)
    assert (first._logged, second._logged) == (1, 2)


def test_in_the_last_epoch_nothing_is_left_to_stop(recipe, tmp_path, monkeypatch, capsys):
    use(monkeypatch, lambda step: 2.5 if step < 2 * STEPS else 1.2)
    done = imcswav.run(recipe, out=tmp_path / "run")
    assert (done.summary["stopped"], done.summary["epochs"]) == (None, 3)
    assert "Warning: clusters die: imc/effective_clusters is 1.2, less than 1.5" in capsys.readouterr().err
