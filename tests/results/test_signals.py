"""Signals without labels, each against plain loops in float64; and that labels never reach them."""

import json
import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tiny import blobs, short_run

import imcswav
from imcswav.data.array import ArrayData
from imcswav.results import signals
from imcswav.results.kept import check_signal
from imcswav.results.signals import measure


def case(count=90, width=5, clusters=4, seed=0):
    """Features (N, F) around centres, and a labelling (N,) that is wrong for some."""
    random = np.random.default_rng(seed)
    clusters_N = random.integers(0, clusters, count)
    centres = random.normal(size=(clusters, width)) * 2
    features_NF = (centres[clusters_N] + random.normal(size=(count, width))).astype(np.float32)
    clusters_N[:: count // 9] = 0
    return features_NF, clusters_N


def cosine(a, b):
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a) * sum(float(y) ** 2 for y in b))


def rand_index(one, other):
    """Adjusted Rand index by looking at every pair."""
    both = first = second = pairs = 0
    for i, j in combinations(range(len(one)), 2):
        a, b = one[i] == one[j], other[i] == other[j]
        both, first, second, pairs = both + (a and b), first + a, second + b, pairs + 1
    expected = first * second / pairs
    return (both - expected) / ((first + second) / 2 - expected)


def test_effective_clusters():
    clusters = [0, 0, 0, 3, 3, 7]
    entropy = -sum(n / 6 * math.log(n / 6) for n in Counter(clusters).values())
    assert signals.effective_clusters(np.array(clusters)) == pytest.approx(math.exp(entropy))
    assert signals.effective_clusters(np.array([5, 5])) == 1.0
    assert signals.effective_clusters(np.arange(8)) == pytest.approx(8.0)


def test_confidence():
    probabilities = np.array([[0.2, 0.8], [0.6, 0.4], [1.0, 0.0]], dtype=np.float32)
    assert signals.confidence(probabilities) == pytest.approx((0.8 + 0.6 + 1.0) / 3)


def test_silhouette():
    features, clusters = case(30)
    total = 0.0
    for i in range(30):
        mean = {}
        for k in set(clusters.tolist()):
            others = [j for j in range(30) if clusters[j] == k and j != i]
            mean[k] = sum(1 - cosine(features[i], features[j]) for j in others) / max(len(others), 1)
        own = mean.pop(int(clusters[i]))
        nearest = min(mean.values())
        total += (nearest - own) / max(own, nearest) if (clusters == clusters[i]).sum() > 1 else 0
    assert signals.silhouette(features, clusters) == pytest.approx(total / 30, abs=1e-5)


@pytest.mark.parametrize("rows", [range(90), [3, 4, 11, 50, 89]])
def test_neighbour_agreement(rows):
    features, clusters = case()
    shares = []
    for i in rows:
        near = sorted((j for j in range(90) if j != i), key=lambda j: -cosine(features[i], features[j]))[:20]
        shares.append(sum(clusters[j] == clusters[i] for j in near) / 20)
    found = signals.neighbour_agreement(torch.from_numpy(features), clusters, np.array(rows))
    assert 0.3 < found < 1
    assert found == pytest.approx(sum(shares) / len(shares))


def test_kmeans_agreement_is_the_rand_index_with_the_centres_that_lloyd_finds():
    features, truth = case(60, clusters=2)
    unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in features.astype(float).tolist()]
    best, labels = math.inf, []
    for starts in combinations(range(0, 60, 7), 2):  # Lloyd's algorithm from many starts
        centres = [unit[i] for i in starts]
        for _ in range(50):
            found = [min((0, 1), key=lambda k: math.dist(row, centres[k])) for row in unit]
            groups = [[row for row, own in zip(unit, found, strict=True) if own == k] for k in (0, 1)]
            centres = [[sum(column) / len(group) for column in zip(*group, strict=True)] for group in groups]
        inertia = sum(math.dist(row, centres[k]) ** 2 for row, k in zip(unit, found, strict=True))
        if inertia < best - 1e-12:
            best, labels = inertia, found
    expected = rand_index(labels, truth.tolist())
    assert 0.1 < expected < 1
    assert signals.kmeans_agreement(features, truth, 2, seed=3) == pytest.approx(expected)


def test_head_agreement_is_the_mean_rand_index_of_the_used_copy_with_each_other():
    random = np.random.default_rng(2)
    used = random.integers(0, 3, 40)
    copies = [used, np.where(random.random(40) < 0.2, 0, (used + 1) % 3), random.integers(0, 3, 40)]
    expected = sum(rand_index(used.tolist(), copy.tolist()) for copy in copies[1:]) / 2
    assert 0.1 < expected < 0.9
    assert signals.head_agreement(np.stack(copies, 1)) == pytest.approx(expected)
    assert signals.head_agreement(used[:, None]) is None
    assert signals.head_agreement(np.zeros((40, 3), int)) is None  # all in one cluster
    assert signals.head_agreement(np.stack([np.zeros(40, int), used], 1)) is None


def test_predictability_fits_without_the_images_it_asks_for():
    """Folds and standardising by hand; the classifier is scikit-learn's on both sides."""
    features, clusters = case()
    order, right = np.random.RandomState(0).permutation(90), 0
    for fold in range(5):
        asked = sorted(order[18 * fold : 18 * fold + 18].tolist())
        fitted = [i for i in range(90) if i not in asked]
        columns = list(zip(*features[fitted].astype(float).tolist(), strict=True))
        means = [sum(column) / len(column) for column in columns]
        widths = [
            math.sqrt(sum((x - m) ** 2 for x in column) / len(column)) for column, m in zip(columns, means, strict=True)
        ]
        scaled = [[(x - m) / w for x, m, w in zip(row, means, widths, strict=True)] for row in features.tolist()]
        classifier = LogisticRegression(max_iter=1000).fit([scaled[i] for i in fitted], clusters[fitted])
        right += sum(classifier.predict([scaled[i] for i in asked]) == clusters[asked])
    found = signals.predictability(features, clusters)
    assert 0.5 < found < 1
    assert found == pytest.approx(right / 90)


def test_clusters_at_random_are_told_from_those_of_the_features():
    features, clusters = case(300)
    shuffled = np.random.default_rng(1).permutation(clusters)
    for name in ("predictability", "silhouette"):
        assert getattr(signals, name)(features, clusters) > getattr(signals, name)(features, shuffled) + 0.1


def test_a_sample_is_the_same_whatever_the_seed(monkeypatch):
    assert signals.sample(7).tolist() == list(range(7))
    monkeypatch.setattr(signals, "SAMPLE", 30)
    rows = signals.sample(90)
    assert len(set(rows.tolist())) == 30
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(rows, signals.sample(90))
    features, clusters = case()
    probabilities = np.eye(4, dtype=np.float32)[clusters]
    found = measure(torch.from_numpy(features), probabilities, {}, clusters=4, seed=0)
    assert found["silhouette"] == pytest.approx(signals.silhouette(features[rows], clusters[rows]), abs=1e-6)
    assert found["effective_clusters"] == pytest.approx(signals.effective_clusters(clusters), abs=1e-6)


@pytest.mark.parametrize(
    ("count", "clusters", "there"),
    [
        (90, 4, set(signals.OF_RUN)),
        (20, 4, set(signals.OF_RUN) - {"neighbour_agreement"}),
        (90, 1, {"confidence", "effective_clusters"}),
        (3, 4, {"confidence", "effective_clusters"}),
        (1, 4, {"confidence", "effective_clusters"}),
    ],
)
def test_what_has_no_meaning_is_left_out(count, clusters, there):
    features, _ = case()
    assigned = np.arange(count) % clusters
    probabilities = np.eye(4, dtype=np.float32)[assigned]
    found = measure(torch.from_numpy(features[:count]), probabilities, {}, clusters=4, seed=0)
    assert found.keys() == there
    assert all(math.isfinite(value) for value in found.values())


def test_one_image_apart_and_equal_features_do_not_fail():
    features = torch.ones(30, 3)
    lonely = np.eye(2, dtype=np.float32)[[1, *[0] * 29]]
    found = measure(features, lonely, {}, clusters=2, seed=0)
    assert found["predictability"] == pytest.approx(29 / 30)
    assert found["kmeans_agreement"] == 0.0


def test_only_losses_where_nothing_assigns_or_features_are_not_finite():
    logged = {"loss": 1.5, "loss/swav": 2.0, "lr": 0.1, "entropy": 3.0}
    features, clusters = case()
    probabilities = np.eye(4, dtype=np.float32)[clusters]
    expected = {"loss": 1.5, "loss/swav": 2.0}
    assert measure(torch.from_numpy(features), None, logged, clusters=4, seed=0) == expected
    features[0, 0] = np.nan
    assert measure(torch.from_numpy(features), probabilities, logged, clusters=4, seed=0) == expected


def test_labels_play_no_part(tiny, tmp_path):
    """Right, permuted and absent labels: the table is the same to the last digit."""
    pixels, labels = blobs()
    tables = []
    for number, given in enumerate((labels, labels[::-1].copy(), np.zeros_like(labels), None)):
        tiny["trainer"] |= {"epochs": 2, "batch_size": 10}
        data = ArrayData.of(pixels, labels=given)
        result = imcswav.run(tiny | {"clusters": 2}, out=tmp_path / str(number), data=data)
        tables.append(result.summary["signals"])
    assert {*signals.OF_RUN, "loss", "loss/swav", "loss/imc"} <= tables[0].keys()
    assert tables[1:] == [tables[0]] * 3


def test_a_summarys_losses_are_the_last_logged(tiny, tmp_path):
    result = short_run(tiny, tmp_path / "run")
    rows = [line for line in (result.path / "metrics.jsonl").read_text().splitlines() if '"loss"' in line]
    last = signals.losses(json.loads(rows[-1]))
    assert {name: result.summary["signals"][name] for name in last} == pytest.approx(last, abs=1e-6)


def test_runs_with_several_heads_say_how_far_these_agree(tiny, tmp_path):
    tiny["heads"]["classifier"]["copies"] = 3
    run = short_run(tiny, tmp_path / "run")
    found = run.summary["signals"]["head_agreement"]
    copies = run.load("cpu").copy_clusters(ArrayData.of(blobs()[0]).train.images, torch.arange(40))
    expected = [rand_index(copies[:, 0].tolist(), copies[:, other].tolist()) for other in (1, 2)]
    assert found == pytest.approx(sum(expected) / 2, abs=1e-6)
    check_signal("head_agreement", 1)


def test_they_can_be_switched_off(tiny, tmp_path):
    result = short_run(tiny, tmp_path / "run", **{"evaluation.signals": False})
    assert result.summary["signals"] == {}


def test_a_run_resumed_after_its_last_step_has_the_same(tiny, tmp_path):
    first = short_run(tiny, tmp_path / "run").summary["signals"]
    (tmp_path / "run" / "summary.json").unlink()
    pixels, labels = blobs()
    again = imcswav.resume(tmp_path / "run", data=ArrayData.of(pixels, labels=labels))
    assert again.summary["signals"] == first
