"""Probes against loops, of runs with and without a test split, and what refuses."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from cli_calls import call
from scipy.optimize import minimize
from tiny import blobs, short, short_run

import imcswav
from imcswav.data import Split
from imcswav.data.array import ArrayData
from imcswav.errors import DataError, ImcswavError
from imcswav.model import Model
from imcswav.results.probe import C, linear


def clouds(count, seed, classes=3, width=4):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    means = np.random.default_rng(9).normal(size=(classes, width))
    scales = np.array([1.0, 100.0, 0.01, 1.0])  # without standardising, one feature would be all
    return ((means[labels] + random.normal(size=(count, width))) * scales + 5).astype(np.float32), labels * 5 + 2


def looped(bank, labels, rows):
    """Minus the log-likelihood plus ‖W‖² / 2C, intercepts left out, minimised by another program."""
    bank, rows = bank.astype(np.float64), rows.astype(np.float64)
    means = [sum(column) / len(column) for column in bank.T]
    stds = [(sum((x - m) ** 2 for x in column) / len(column)) ** 0.5 for column, m in zip(bank.T, means, strict=True)]
    bank, rows = ((x - np.array(means)) / np.array(stds) for x in (bank, rows))
    classes = sorted(set(labels.tolist()))

    def loss(flat):
        table = flat.reshape(len(classes), -1)
        total = (table[:, :-1] ** 2).sum() / (2 * C)
        for row, label in zip(bank, labels, strict=True):
            logits = [weights[:-1] @ row + weights[-1] for weights in table]
            total -= logits[classes.index(label)] - np.log(sum(np.exp(logits)))
        return total

    table = minimize(loss, np.zeros(len(classes) * (bank.shape[1] + 1)), tol=1e-8).x.reshape(len(classes), -1)
    return [classes[int(np.argmax([weights[:-1] @ row + weights[-1] for weights in table]))] for row in rows]


def test_the_linear_probe_is_softmax_regression_on_standardised_features():
    bank, queries = clouds(60, 1), clouds(300, 2)
    classes, converged = linear(*bank, queries[0])
    assert converged
    assert classes.tolist() == looped(*bank, queries[0])
    assert 0.5 < (classes == queries[1]).mean() < 0.98  # neither trivial nor hopeless
    again, _ = linear(bank[0] * 7 - 3, bank[1], queries[0] * 7 - 3)
    assert (again == classes).mean() > 0.99  # units don't matter


def test_a_constant_feature_does_no_harm():
    bank, queries = clouds(60, 1), clouds(100, 2)
    wide = [np.concatenate([x, np.full((len(x), 1), 3.0, np.float32)], 1) for x in (bank[0], queries[0])]
    assert np.array_equal(linear(wide[0], bank[1], wide[1])[0], linear(*bank, queries[0])[0])


def two_splits(labels_of_test=True):
    pixels, labels = blobs(40)
    data = ArrayData.of(pixels, labels=np.where(np.arange(40) % 5, labels, -1))  # a fifth is unlabelled
    pixels, labels = blobs(16, seed=1)
    names = [f"t{number}" for number in range(16)]
    data.test = Split(torch.from_numpy(pixels)[:, None], names, torch.from_numpy(labels) if labels_of_test else None)
    return data


@pytest.fixture
def split_run(tiny, tmp_path):
    data = two_splits()
    return imcswav.run(short(tiny), out=tmp_path / "run", data=data).path, data


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_it_learns_from_training_labels_and_is_scored_on_test(split_run, kind):
    run, data = split_run
    found = imcswav.probe(run, kind, data=data)
    assert (found.learnt_from, found.scored_on, found.classes) == (32, 16, 2)
    assert found.protocol == "labels of train, scored on test"
    assert found == imcswav.probe(run, kind, data=data)  # nothing is drawn
    model = Model.load(run)
    known = data.train.labels >= 0
    bank = model.embed(data.train.images[known]).features.numpy()
    rows = model.embed(data.test.images).features.numpy()
    labels = data.train.labels[known].numpy()
    if kind == "linear":
        expected = linear(bank, labels, rows)[0]
    else:
        unit_bank, unit_rows = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank, rows))
        nearest = np.argsort(-(unit_rows @ unit_bank.T), axis=1, kind="stable")[:, :20]
        expected = (labels[nearest].mean(1) > 0.5).astype(int)
    assert found.accuracy == pytest.approx((expected == data.test.labels.numpy()).mean())


def test_wrong_training_labels_show_in_the_probe_and_nowhere_else(split_run):
    """They are what it learns from; the labels that are scored are the test split's."""
    run, data = split_run
    good = imcswav.probe(run, "linear", data=data)
    data.train.labels = torch.where(data.train.labels >= 0, 1 - data.train.labels, data.train.labels)
    bad = imcswav.probe(run, "linear", data=data)
    assert bad.accuracy == pytest.approx(1 - good.accuracy)


def test_without_a_test_split_no_image_speaks_for_itself(tiny, tmp_path):
    """Labels at random can be learnt by heart and not foretold."""
    pixels, _ = blobs(60)
    labels = np.random.default_rng(0).permutation(np.arange(60) % 2)
    data = ArrayData.of(pixels, labels=labels)
    run = imcswav.run(short(tiny), out=tmp_path / "run", data=data).path
    found = {kind: imcswav.probe(run, kind, data=data) for kind in ("linear", "knn")}
    assert found["linear"].protocol == "cross-validated in 5 folds on train"
    assert found["knn"].protocol == "each image by all others on train"
    for one in found.values():
        assert (one.learnt_from, one.scored_on) == (60, 60)
        assert one.accuracy < 0.75
    features = Model.load(run).embed(data.train.images).features.numpy()
    by_heart, _ = linear(features, labels, features)
    assert (by_heart == labels).mean() > found["linear"].accuracy


def test_neighbours_are_those_of_the_recipe(tiny, tmp_path):
    tiny["evaluation"] = {"metrics": [{"name": "knn", "k": 3}]}
    run = short_run(tiny, tmp_path / "run")
    pixels, labels = blobs()
    found = imcswav.probe(run.path, "knn", data=ArrayData.of(pixels, labels=labels))
    assert found.settings["k"] == 3
    assert found.accuracy == pytest.approx(run.summary["knn"], abs=1e-6)


def test_what_refuses(split_run, tiny, tmp_path):
    run, data = split_run
    with pytest.raises(ImcswavError, match="There is no probe 'mlp'; take one of linear, knn"):
        imcswav.probe(run, "mlp", data=data)
    with pytest.raises(DataError, match="No image of the test split has a label"):
        imcswav.probe(run, "knn", data=two_splits(labels_of_test=False))
    pixels, labels = blobs()
    with pytest.raises(DataError, match="No image of the train split has a label"):
        imcswav.probe(run, "linear", data=ArrayData.of(pixels))
    with pytest.raises(DataError, match="of one class"):
        imcswav.probe(run, "linear", data=ArrayData.of(pixels, labels=np.zeros(40, np.int64)))
    few = np.where(np.arange(40) < 4, 2, labels)
    with pytest.raises(DataError, match="fewer than 5 images"):
        imcswav.probe(run, "linear", data=ArrayData.of(pixels, labels=few))
    assert imcswav.probe(run, "knn", data=ArrayData.of(pixels, labels=few)).classes == 3


def test_the_command(tiny, tmp_path, capsys):
    tiny["trainer"]["max_steps"] = 1
    run = imcswav.run(tiny, out=tmp_path / "run").path
    before = (run / "summary.json").read_bytes()
    code, out, _ = call(capsys, "evaluate", run, "--probe", "linear", "--json", tmp_path / "probe.json")
    assert code == 0
    found = imcswav.probe(run, "linear")
    assert f"{found.accuracy:.4f}" in out
    assert "cross-validated in 5 folds" in out
    assert json.loads((tmp_path / "probe.json").read_text()) == dataclasses.asdict(found)
    code, _, err = call(capsys, "evaluate", run, "--json", tmp_path / "probe.json")
    assert (code, "not overwritten" in err) == (2, True)
    code, out, _ = call(capsys, "evaluate", run, "--json", tmp_path / "scores.json")
    assert code == 0
    summary = json.loads(before)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["knn"] == pytest.approx(summary["knn"], abs=1e-6)
    assert (run / "summary.json").read_bytes() == before
