import csv
import json

import numpy as np
import pytest
from tiny import blobs, png_size, short_run

from imcswav.data.array import ArrayData
from imcswav.files import write_csv
from imcswav.metrics.acc import accuracy
from imcswav.model import Model
from imcswav.runs import FACTS, REFERENCE

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
        "metrics.jsonl", "model", "recipe.toml", "summary.json",
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
