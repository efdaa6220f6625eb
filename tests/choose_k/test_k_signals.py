"""Signals and the merge tree against plain loops."""

import itertools

import numpy as np
import pytest

from imcswav.k_choice.signals import SIGNALS, corrected_accuracy, measure, refined, silhouette, worst_cluster
from imcswav.k_choice.tree import merge_tree


def silhouette_loop(x, labels):
    total = 0.0
    for i in range(len(x)):
        means = {}
        for k in set(labels.tolist()):
            members = [j for j in range(len(x)) if labels[j] == k and j != i]
            if members:
                means[k] = sum(float(np.linalg.norm(x[i] - x[j])) for j in members) / len(members)
        own = means.pop(int(labels[i]), None)
        if own is not None and means:
            beside = min(means.values())
            total += (beside - own) / max(beside, own)
    return total / len(x)


def test_silhouette():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(30, 3)), rng.integers(0, 4, 30)
    labels[0] = 4  # alone
    distances = np.array([[np.linalg.norm(a - b) for b in x] for a in x])
    assert silhouette(distances, labels, 6) == pytest.approx(silhouette_loop(x, labels), abs=1e-12)
    assert silhouette(distances, np.zeros(30, int), 2) == 0


def test_worst_cluster():
    rng = np.random.default_rng(1)
    predicted, labels = rng.integers(0, 3, 40), rng.integers(0, 3, 40)
    worst = 1.0
    for k in range(3):
        pairs = list(itertools.combinations([i for i in range(40) if labels[i] == k], 2))
        worst = min(worst, sum(predicted[i] == predicted[j] for i, j in pairs) / len(pairs))
    assert worst_cluster(predicted, labels, 3) == pytest.approx(worst)
    assert worst_cluster(np.array([0, 1]), np.array([0, 1]), 2) == 0  # no pair at all


def test_accuracy_above_chance():
    rng = np.random.default_rng(2)
    predicted, labels = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    pairs = list(zip(predicted, labels, strict=True))
    best = max(itertools.permutations(range(3)), key=lambda order: sum(order[p] == n for p, n in pairs))
    accuracy = sum(best[p] == n for p, n in pairs) / 50
    chance = sum(sum(predicted == k) / 50 * sum(labels == best[k]) / 50 for k in range(3))
    assert corrected_accuracy(predicted, labels, 3) == pytest.approx((accuracy - chance) / (1 - chance))
    assert corrected_accuracy((labels + 1) % 3, labels, 3) == pytest.approx(1)  # the same under other numbers
    assert corrected_accuracy(np.zeros(50, int), np.zeros(50, int), 3) == 0  # nothing to be right about


@pytest.mark.parametrize("clusters", [2, 20])
def test_independent_labels_have_nothing_above_chance(clusters):
    rng = np.random.default_rng(3)
    uneven = np.linspace(1, 3, clusters) / np.linspace(1, 3, clusters).sum()
    predicted, labels = (rng.choice(clusters, 4000, p=uneven) for _ in range(2))
    assert abs(corrected_accuracy(predicted, labels, clusters)) < 0.05


def test_refined_is_k_means_and_leaves_idle_centres():
    x = np.array([[0.0], [1.0], [9.0], [11.0]])
    assert refined(x, np.array([[0.0], [5.5], [99.0]])).tolist() == [[0.5], [10.0], [99.0]]


def ward_loop(x, left):
    """Merge single points by the least growth of the sum of squares until so many are left; all growths."""
    groups, grown = [[i] for i in range(len(x))], []

    def loss(group):
        centre = sum(x[i] for i in group) / len(group)
        return sum(float(((x[i] - centre) ** 2).sum()) for i in group)

    while len(groups) > left:
        growth, a, b = min(
            (loss(groups[a] + groups[b]) - loss(groups[a]) - loss(groups[b]), a, b)
            for a, b in itertools.combinations(range(len(groups)), 2)
        )
        grown.append(growth)
        groups[a] += groups.pop(b)
    return {frozenset(group) for group in groups}, grown


def as_sets(labels):
    return {frozenset(np.flatnonzero(labels == k).tolist()) for k in set(labels.tolist())}


def test_the_tree_is_ward_s():
    x = np.random.default_rng(4).normal(size=(14, 3))
    tree = merge_tree(x, 14, seed=0)
    grown = ward_loop(x, 1)[1]
    assert tree.heights == pytest.approx(grown)
    for left in (2, 3, 6, 14):
        assert as_sets(tree.cut(left)) == ward_loop(x, left)[0]
    for left in (2, 5, 12):  # growths of the merges that leave left − 1 and left
        assert tree.gap(left) == pytest.approx(np.log(grown[14 - left] / grown[13 - left]) / 2)
    assert tree.gap(14) == tree.gap(1) == 0
    assert len(set(tree.cut(99).tolist())) == 14


def test_small_clusters_weigh_by_their_images():
    x = np.repeat(np.array([[0.0], [1.0], [2.2]]), (1, 50, 2), axis=0)
    tree = merge_tree(x, 3, seed=0)
    assert as_sets(tree.cut(2)) == {frozenset(range(51)), frozenset((51, 52))}  # 1·50/51 < 1.44·100/52
    assert tree.heights[0] == pytest.approx(50 / 51)


def test_images_that_are_alike_make_fewer_small_clusters():
    x = np.repeat(np.eye(4), 10, axis=0)
    tree = merge_tree(x, 12, seed=0)
    assert len(tree.heights) == 3
    assert len(as_sets(tree.cut(9))) == 4


def test_two_halves_agree_on_what_is_there():
    rng = np.random.default_rng(5)
    halves = [
        np.concatenate([rng.normal(size=(40, 2)) + centre for centre in ((0, 0), (20, 0), (0, 20))]) for _ in "ab"
    ]
    found = dict(zip(SIGNALS, measure(*halves, (2, 3, 5), 12, 0), strict=True))
    assert found["silhouette"].argmax() == found["merge_tree"].argmax() == 1
    for name in ("stability", "predictability", "worst_cluster"):
        assert found[name][1] == pytest.approx(1)
        assert found[name][2] < 0.9
