import csv
import json

import numpy as np
import pytest
from tiny import blobs, png_size, short, short_run

import imcswav
from imcswav import console
from imcswav.data.array import ArrayData
from imcswav.files import write_csv
from imcswav.metrics.acc import Accuracy, accuracy
from imcswav.model import Model
from imcswav.runs import FACTS, REFERENCE, RunFolder

SUMMARY = (
    "recipe", "acc", "nmi", "ari", "knn", "kmeans_acc", "features_kmeans_acc", "clusters", "clusters_used", "epochs",
    "steps", "seconds", "cpu_seconds", "images_per_second", "seed", "bn_statistics", "scored_on", "trained_on",
    "protocol", "device", "precision",
)  # fmt: skip


@pytest.fixture
def tiny(tiny):
    """With pictures, as by default."""
    return {table: settings for table, settings in tiny.items() if table != "evaluation"}


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_a_finished_run_leaves(tiny, tmp_path):
    result = short_run(tiny, tmp_path / "run")
    files = {path.name for path in result.path.iterdir()}
    assert files == {
        "assignments.csv", "checkpoints", "clusters.png", "confusion.png", "curves.png", "environment.json",
        "health.json", "metrics.jsonl", "model", "recipe.toml", "summary.json",
    }  # fmt: skip
    assert min(png_size(result.path / "confusion.png") + png_size(result.path / "curves.png")) > 300
    assert json.loads((result.path / "summary.json").read_text()) == result.summary
    assert set(SUMMARY) <= set(result.summary)
    assert all(result.summary[key] is not None for key in SUMMARY)
    assert (result.summary["clusters"], result.summary["epochs"], result.summary["steps"]) == (2, 2, 8)
    assert result.summary["scored_on"] == "train (40 images)"


def test_a_summarys_own_keys_are_those_that_no_metric_may_have(tiny, tmp_path):
    summary = short_run(tiny, tmp_path / "run").summary
    assert summary["metrics"] == ["acc", "nmi", "ari", "knn"]
    assert set(summary) == {*FACTS, *REFERENCE, *summary["metrics"]}
    assert summary["data"] == ArrayData.of(blobs()[0]).digest()


def test_assignments_are_the_models(tiny, tmp_path):
    result = short_run(tiny, tmp_path / "run")
    pixels, labels = blobs()
    found = rows(result.path / "assignments.csv")
    assert list(found[0]) == ["image", "split", "cluster", "confidence", "label"]
    assert [row["image"] for row in found] == [str(number) for number in range(40)]
    assert {row["split"] for row in found} == {"train"}
    assert [int(row["label"]) for row in found] == labels.tolist()
    clusters = np.array([int(row["cluster"]) for row in found])
    probabilities = Model.load(result.path).predict_proba(pixels)
    assert np.array_equal(clusters, probabilities.argmax(1))
    assert np.allclose([float(row["confidence"]) for row in found], probabilities.max(1), atol=1e-4)
    assert result.summary["acc"] == pytest.approx(accuracy(labels, clusters), abs=1e-6)


def test_without_labels_scores_are_null_and_there_is_no_confusion(tiny, tmp_path):
    result = short_run(tiny, tmp_path / "run", labelled=False)
    for key in ("acc", "nmi", "ari", "knn", "kmeans_acc", "features_kmeans_acc"):
        assert result.summary[key] is None
    assert not (result.path / "confusion.png").exists()
    assert {row["label"] for row in rows(result.path / "assignments.csv")} == {""}
    assert png_size(result.path / "curves.png")


def test_pictures_can_be_left_out(tiny, tmp_path):
    result = short_run(tiny, tmp_path / "run", **{"evaluation.plots": False})
    assert not list(result.path.glob("*.png"))
    assert result.summary["acc"] is not None


def test_nothing_assigns(tiny, tmp_path):
    del tiny["heads"]["classifier"], tiny["losses"][1]
    with pytest.warns(UserWarning, match="no image gets a cluster"):
        result = short_run(tiny, tmp_path / "run")
    assert result.summary["acc"] is result.summary["clusters_used"] is None
    assert result.summary["knn"] is not None
    assert rows(result.path / "assignments.csv") == []
    assert not (result.path / "confusion.png").exists()


def test_commas_and_line_ends_in_names_survive(tmp_path):
    write_csv(tmp_path / "t.csv", ("image", "n"), [('a,"b"\n.png', 1)])
    assert rows(tmp_path / "t.csv") == [{"image": 'a,"b"\n.png', "n": "1"}]


@pytest.mark.parametrize("logged", [True, False])
def test_the_first_evaluation_at_or_above_an_accuracy_is_timed(tiny, tmp_path, monkeypatch, logged):
    """Of the accuracies 0.2, 0.6, 0.5 and 0.9 after each epoch; without a log the last is all that is known."""
    found = iter((0.2, 0.6, 0.5, 0.9))
    monkeypatch.setattr(Accuracy, "__call__", lambda metric, scored: next(found))
    tiny["callbacks"] |= {"evaluate": {"every": 1}, "metrics": {"enabled": logged}}
    tiny["evaluation"] = {"metrics": ["acc"], "plots": False, "signals": False}
    short(tiny, epochs=4)
    pixels, labels = blobs()
    data = ArrayData.of(pixels, labels=labels)
    result = imcswav.run(tiny, {"evaluation.time_to_acc": 0.6}, out=tmp_path / "run", data=data)
    assert result.summary["time_to_acc"] == 0.6
    if logged:
        lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        times = [line["seconds"] for line in lines if "eval/acc" in line]
        assert result.summary["seconds_to_acc"] == times[1] < times[2] < times[3]
    else:
        assert result.summary["seconds_to_acc"] == pytest.approx(result.summary["seconds"], abs=0.01)


def test_an_accuracy_that_is_not_reached_has_no_time(tiny, tmp_path, capsys):
    result = short_run(tiny, tmp_path / "run", **{"evaluation.time_to_acc": 1.0, "trainer.epochs": 0})
    assert (result.summary["time_to_acc"], result.summary["seconds_to_acc"]) == (1.0, None)
    console.finished(result)
    assert "ACC of 100 % first reached: in no evaluation" in capsys.readouterr().out


@pytest.mark.parametrize("saved", [True, False])
def test_a_run_that_could_not_go_on_stays_finished_though_its_page_was_not_written(tiny, tmp_path, monkeypatch, saved):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    changes = {"callbacks.clustering.enabled": True, "callbacks.checkpoint.enabled": saved, "trainer.max_steps": 2}
    with monkeypatch.context() as patch:
        patch.setattr("imcswav.clustering.collect.make_thumbnails", stopped)
        with pytest.raises(KeyboardInterrupt):
            imcswav.run(tiny, changes, out=tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.finished is not saved
    assert run.can_go_on is saved
    imcswav.resume(run.path)
    assert run.finished
    assert (run.path / "labels.csv").exists() is saved
