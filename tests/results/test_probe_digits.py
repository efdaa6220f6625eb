"""Swapped prediction on digits: what it learns can be read off its features, and without balance there is nothing."""

import json

import pytest

import imcswav

pytestmark = pytest.mark.slow

PROTOTYPES = 64


def run(folder, epochs, solver="sinkhorn"):
    """The shipped recipe without its classifier: swapped prediction alone, and k-means."""
    alone = {"losses": [{"name": "swav", "solver": {"name": solver}}], "clusterer.name": "kmeans"}
    changes = {"trainer.epochs": epochs, "callbacks.tensorboard.enabled": False}
    return imcswav.run("digits", alone | changes, out=folder, warn=lambda problem: None)


def used(result):
    """Effective prototypes, exp of the entropy of the mean code, at every log line."""
    lines = [json.loads(line) for line in (result.path / "metrics.jsonl").read_text().splitlines()]
    return [line["swav/effective_prototypes"] for line in lines if "swav/effective_prototypes" in line]


def test_probes_beat_a_random_encoder_and_k_means_of_pixels(tmp_path):
    learnt, random = run(tmp_path / "learnt", 40), run(tmp_path / "random", 0)
    for kind in ("linear", "knn"):
        found = {name: imcswav.probe(one.path, kind) for name, one in {"learnt": learnt, "random": random}.items()}
        assert all(one.converged for one in found.values())
        assert found["learnt"].accuracy > found["random"].accuracy + 0.01
        assert found["learnt"].accuracy > learnt.summary["kmeans_acc"] + 0.1
    assert min(used(learnt)) > 0.5 * PROTOTYPES


def test_without_balance_the_prototypes_collapse(tmp_path):
    """The same with softmax for codes, so that the check above can fail."""
    assert used(run(tmp_path / "run", 5, solver="softmax"))[-1] < 0.1 * PROTOTYPES
