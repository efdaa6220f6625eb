"""Every kind of edit against what it has to give."""

import itertools
import math

import numpy as np
import pytest
import torch
from edit_case import clustering

from imcswav.clustering import OUTLIER
from imcswav.clustering.edits import Assign, DropOutliers, Merge, Refit, Rename, Split
from imcswav.clustering.edits.kept import Kept, parsed
from imcswav.clustering.edits.operation import numbers
from imcswav.errors import RunError
from imcswav.export.edited import Edited

FOUR = [[0.6, 0.2, 0.1, 0.1], [0.1, 0.5, 0.3, 0.1], [0.3, 0.25, 0.35, 0.1], [0.0, 0.1, 0.1, 0.8]]


def make(now, edit):
    """Prepared and applied: (the edit as recorded, the clustering after)."""
    ready = edit.prepared(now, max(now.ids) + 1)
    return ready, ready.applied(now)


def test_merging_takes_the_larger_and_keeps_the_first_number():
    now = clustering(FOUR, titles={2: "deer", 3: "frog"}, given={0: 2, 3: 3})
    ready, after = make(now, Merge(clusters=(1, 2)))
    rows = [[0.6, 0.2, 0.1], [0.1, 0.5, 0.1], [0.3, 0.35, 0.1], [0.0, 0.1, 0.8]]
    expected = [[value / sum(row) for value in row] for row in rows]
    np.testing.assert_allclose(after.probabilities_NK, expected, atol=1e-6)
    assert after.ids == (0, 1, 3)
    assert after.titles == {1: "deer", 3: "frog"}
    assert after.given == {0: 1, 3: 3}
    assert after.clusters_N.tolist() == [1, 1, 1, 3]
    assert ready.told(now, after) == ('Clusters 1 (1 image) and 2 "deer" (2 images) are one now: 1 "deer" (3 images).')


def test_a_number_that_stays_may_be_the_larger_and_no_other_image_joins():
    now = clustering([[0.4, 0.3, 0.3], [0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.2, 0.3, 0.5]])
    ready, after = make(now, Merge(clusters=(2, 1)))
    assert after.ids == (0, 2)
    assert after.clusters_N.tolist() == [0, 0, 2, 2]
    assert ready.told(now, after) == "Clusters 2 (1 image) and 1 (1 image) are one now: 2 (2 images)."


TIES = [[0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0.5, 0, 0, 0.5], [0, 0.5, 0.5, 0], [0, 0.5, 0, 0.5], [0, 0, 0.5, 0.5]]


def as_modules(now, ready):
    """What an exported model says after the edit."""
    step = Edited(Kept(now.ids, (ready,)))
    with torch.no_grad():
        return step(torch.from_numpy(now.features_NF), torch.from_numpy(now.probabilities_NK)).numpy()


@pytest.mark.parametrize("pair", list(itertools.permutations(range(4), 2)))
def test_equals_are_decided_as_before_a_merge(pair):
    now = clustering(TIES)
    ready, after = make(now, Merge(clusters=pair))
    expected = [pair[0] if cluster == pair[1] else cluster for cluster in now.clusters_N.tolist()]
    assert after.clusters_N.tolist() == expected
    np.testing.assert_allclose(as_modules(now, ready), after.probabilities_NK, atol=1e-6)
    assert as_modules(now, ready).argmax(1).tolist() == after.probabilities_NK.argmax(1).tolist()


def test_outliers_that_a_merge_makes_surer_are_counted():
    now = clustering([[0.3, 0.3, 0.4], [0.6, 0.2, 0.2]], threshold=0.42)
    ready, after = make(now, Merge(clusters=(0, 1)))
    assert after.clusters_N.tolist() == [2, 0]
    assert ready.told(now, after).endswith("(1 image). 1 image is sure enough now, no outlier any more.")


def test_no_image_leaves_a_cluster_that_is_split_for_one_as_likely():
    now = clustering([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.9, 0.1, 0.0], [0.0, 0.5, 0.5]], corners([0, 80, 84, 40]))
    ready, after = make(now, Split(cluster=0))
    assert set(after.clusters_N[:3].tolist()) == {0, 3}
    assert after.clusters_N[3] == 1
    assert as_modules(now, ready).argmax(1).tolist() == after.probabilities_NK.argmax(1).tolist()


def corners(angles):
    return [[math.cos(math.radians(angle)), math.sin(math.radians(angle))] for angle in angles]


def test_splitting_finds_the_parts_and_the_larger_keeps_the_number():
    angles = [0, 2, 80, 84, 88, 200, 60]
    sure = [[0.1, 0.9]] * 5 + [[0.9, 0.1], [0.8, 0.2]]
    now = clustering(sure, corners(angles), titles={1: "pets"}, given={6: 1})
    ready, after = make(now, Split(cluster=1))
    assert (ready.parts, after.ids, after.titles) == ((1, 2), (0, 1, 2), {1: "pets"})
    assert after.clusters_N[:6].tolist() == [2, 2, 1, 1, 1, 0]
    assert after.given == {6: 1}
    np.testing.assert_allclose(after.probabilities_NK.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(after.probabilities_NK[:, 0], now.probabilities_NK[:, 0])
    assert ready.told(now, after) == 'Cluster 1 "pets" (6 images) is 2 now: 1 "pets" (4 images) and 2 (2 images).'


def reference_shares(now, place, centres, temperature):
    """softmax of cosines, then the floor for images that are in the cluster; plain loops in float64."""
    rows = []
    for probabilities, feature in zip(now.probabilities_NK.tolist(), now.features_NF.tolist(), strict=True):
        length = math.hypot(*feature)
        exps = [math.exp(sum(a * b / length for a, b in zip(feature, c, strict=True)) / temperature) for c in centres]
        shares = [value / sum(exps) for value in exps]
        own, best = probabilities[place], shares.index(max(shares))
        rival = max(now.threshold, *(value for k, value in enumerate(probabilities) if k != place))
        if own >= rival and shares[best] < (1 + rival / own) / 2:
            wanted = (1 + rival / own) / 2
            shares = [wanted if k == best else s * (1 - wanted) / (1 - shares[best]) for k, s in enumerate(shares)]
        rows.append([own * share for share in shares])
    return rows


@pytest.mark.parametrize("into", [2, 3])
def test_parts_share_the_probability_and_images_stay_within(into):
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([1, 1, 1, 1], 200)
    now = clustering(probabilities, random.normal(size=(200, 3)), threshold=0.4)
    ready, after = make(now, Split(cluster=2, into=into))
    parts = reference_shares(now, 2, ready.centres, ready.temperature)
    columns = [2, *range(4, 3 + into)]
    np.testing.assert_allclose(after.probabilities_NK[:, columns], parts, atol=1e-6)
    before, now_in = now.clusters_N, after.clusters_N
    assert set(now_in[before == 2]) == set(ready.parts)
    np.testing.assert_array_equal(now_in[before != 2], before[before != 2])
    sizes = [len(after.members(part)) for part in ready.parts]
    assert sizes == sorted(sizes, reverse=True)


def test_merging_the_parts_again_gives_the_clusters_of_before():
    random = np.random.default_rng(1)
    now = clustering(random.dirichlet([1, 1, 1], 50), random.normal(size=(50, 4)))
    _, parted = make(now, Split(cluster=1, into=3))
    _, whole = make(parted, Merge(clusters=(1, 3, 4)))
    np.testing.assert_array_equal(whole.clusters_N, now.clusters_N)
    np.testing.assert_allclose(whole.probabilities_NK.sum(1), 1, atol=1e-6)
    assert whole.ids == now.ids


def test_a_name_is_one_line_and_can_be_taken_away():
    now = clustering(FOUR)
    ready, after = make(now, Rename(cluster=3, name="  red\n\x00 deer\u202e \x1b[31m"))
    assert after.titles == {3: "red deer [31m"}
    assert ready.told(now, after) == 'Cluster 3 is called "red deer [31m" now.'
    gone, last = make(after, Rename(cluster=3, name=" "))
    assert last.titles == {}
    assert gone.told(after, last) == 'Cluster 3 has no name now (before: "red deer [31m").'


def test_doubtful_images_are_dropped_but_none_set_by_hand():
    now = clustering(FOUR, given={2: 0})
    ready, after = make(now, DropOutliers(below=0.6))
    assert after.clusters_N.tolist() == [0, OUTLIER, 0, 3]  # float32(0.6) is not below 0.6
    assert ready.told(now, after).startswith("1 of 4 images are in no cluster now")
    _, back = make(after, DropOutliers(below=0))
    assert back.clusters_N.tolist() == [0, 1, 0, 3]


def test_images_set_by_hand_are_where_they_were_set():
    now = clustering(FOUR, given={3: 1})
    ready, after = make(now, Assign(images=("3", "0", "0"), cluster=2))
    assert after.given == {3: 2, 0: 2}
    assert after.clusters_N.tolist() == [2, 1, 2, 2]
    assert ready.told(now, after) == "2 images are in cluster 2 by hand now; 2 changed cluster by that."
    _, out = make(after, Assign(images=("1",), cluster=OUTLIER))
    assert out.clusters_N.tolist() == [2, OUTLIER, 2, 2]


@pytest.mark.parametrize(("clusters", "width"), [(2, 8), (5, 64), (10, 512)])
def test_refitting_mends_wrong_labels_of_a_mixture(clusters, width):
    random = np.random.default_rng(clusters)
    truth = random.integers(0, clusters, 800)
    centres = random.normal(size=(clusters, width)) / math.sqrt(width)
    features = 3 + 10 * (centres[truth] + 0.8 * random.normal(size=(800, width)) / math.sqrt(width))
    wrong = random.random(800) < 0.05
    labels = np.where(wrong, (truth + 1) % clusters, truth)
    now = clustering(np.eye(clusters)[labels] * 0.5 + 0.5 / clusters, features)
    ready, after = make(now, Refit())
    errors = (after.clusters_N != truth).sum()
    assert errors < 0.2 * wrong.sum()
    assert f"{(after.clusters_N != labels).sum()} of 800 changed cluster" in ready.told(now, after)
    np.testing.assert_allclose(after.probabilities_NK.sum(1), 1, atol=1e-6)


def test_a_refitted_head_is_a_softmax_of_what_is_recorded():
    random = np.random.default_rng(0)
    now = clustering(random.dirichlet([1, 1, 1, 1], 60), random.normal(size=(60, 3)), threshold=0.3)
    now = Merge(clusters=(0, 2)).applied(now)
    ready, after = make(now, Refit())
    assert ready.clusters == (0, 1, 3)
    for image in range(60):
        length = math.sqrt(sum(value * value for value in now.features_NF[image].tolist()))
        unit = [value / length for value in now.features_NF[image].tolist()]
        products = [sum(w * x for w, x in zip(row, unit, strict=True)) for row in ready.weights]
        logits = [product + bias for product, bias in zip(products, ready.bias, strict=True)]
        total = sum(math.exp(value) for value in logits)
        np.testing.assert_allclose(after.probabilities_NK[image], [math.exp(z) / total for z in logits], atol=1e-5)
    assert ready.fitted == (now.clusters_N != OUTLIER).sum()


def test_images_set_by_hand_count_more_and_stay():
    angles = [*np.linspace(0, 40, 30), *np.linspace(50, 90, 30)]
    sides = [[0.9, 0.1]] * 30 + [[0.1, 0.9]] * 30
    plain = clustering(sides, corners(angles))
    by_hand = Assign(images=tuple(str(i) for i in range(25, 30)), cluster=1).applied(plain)
    before, after = (make(one, Refit())[1] for one in (plain, by_hand))
    assert after.given == by_hand.given
    assert (after.probabilities_NK[:, 1] > before.probabilities_NK[:, 1]).all()
    free = Refit().prepared(clustering(sides[:25] + [[0.1, 0.9]] * 35, corners(angles)), 2).applied(plain)
    assert after.probabilities_NK[22, 1] > free.probabilities_NK[22, 1]


def test_outliers_teach_nothing_and_an_empty_cluster_gets_nothing():
    sides = [[0.9, 0.05, 0.05]] * 10 + [[0.05, 0.9, 0.05]] * 10 + [[0.3, 0.3, 0.4]] * 5
    now = clustering(sides, corners([*range(10), *range(60, 70), *range(30, 35)]), threshold=0.5)
    ready, after = make(now, Refit())
    assert (ready.clusters, ready.fitted) == ((0, 1), 20)
    assert after.ids == (0, 1, 2)
    assert not after.probabilities_NK[:, 2].any()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Merge(clusters=(1, 7)), "no cluster 7; there are 0 to 3"),
        (Merge(clusters=(1, -1)), "no cluster -1"),
        (Merge(clusters=(1, 2, 1)), "names a cluster twice"),
        (Merge(clusters=(1,)), "two clusters or more"),
        (Split(cluster=7), "no cluster 7"),
        (Split(cluster=3), "Cluster 3 has 1 image, too few to be split into 2"),
        (Split(cluster=0), "images are too alike"),
        (Rename(cluster=7, name="x"), "no cluster 7"),
        (Rename(cluster=0, name=" deer "), '"deer" is the name of cluster 2 already'),
        (Rename(cluster=0, name="cluster 2"), '"cluster 2" is the name of cluster 2 already'),
        (Rename(cluster=0, name="outliers"), "of outliers already"),
        (Rename(cluster=0, name="cluster 4"), '"cluster 4" would be the name of another cluster'),
        (Rename(cluster=0, name="x" * 101), "101 characters is too long"),
        (Assign(images=("9",), cluster=0), "no image '9'"),
        (Assign(images=("1", "8", "9"), cluster=0), "no image '8' .and 1 more are missing"),
        (Assign(images=("1",), cluster=4), "no cluster 4"),
    ],
)
def test_what_can_not_be_done_is_one_sentence(edit, message):
    now = clustering([*FOUR, FOUR[0]], titles={2: "deer"})
    with pytest.raises(RunError, match=message) as caught:
        edit.prepared(now, 4)
    assert "\n" not in str(caught.value)


def test_a_head_needs_two_clusters():
    with pytest.raises(RunError, match="needs two clusters that have images"):
        Refit().prepared(clustering([[0.9, 0.1], [0.8, 0.2]]), 2)


@pytest.mark.parametrize(
    "table",
    [
        {"op": "merge"},
        {"op": "merge", "clusters": ["1", 2]},
        {"op": "merge", "clusters": [True, 2]},
        {"op": "split", "cluster": 1, "into": 1},
        {"op": "drop_outliers", "below": 1.5},
        {"op": "drop_outliers", "below": float("nan")},
        {"op": "assign", "images": [], "cluster": 1},
        {"op": "melt", "cluster": 1},
        {"op": "refit", "colour": "red"},
        {},
        3,
    ],
)
def test_what_is_no_edit_is_one_sentence(table):
    with pytest.raises(RunError, match=r"^The edit can't be made") as caught:
        parsed([table], "The edit")
    assert "\n" not in str(caught.value)


def test_numbers_for_people():
    assert numbers((0, 1, 2, 5, 7, 8)) == "0 to 2, 5, 7, 8"


def test_a_refit_leaves_out_as_many_images_as_the_limit_did_before():
    random = np.random.default_rng(2)
    own = random.integers(0, 3, 300)
    features = 3 * np.eye(3)[own] + random.normal(size=(300, 3))
    sure = 0.98 * np.eye(3)[own] + 0.01
    sure[:20] = [0.4, 0.35, 0.25]
    now = clustering(sure / sure.sum(1, keepdims=True), features, threshold=0.6)
    _, after = make(now, Refit())
    assert (now.clusters_N == -1).sum() == 20
    assert (after.clusters_N == -1).sum() == 20
    _, without = make(clustering(sure / sure.sum(1, keepdims=True), features), Refit())
    assert (without.clusters_N == -1).sum() == 0


def test_no_image_lies_at_the_limit_of_a_refit():
    """The last digits depend on how many images are embedded at once, so they must not decide."""
    random = np.random.default_rng(3)
    own = random.integers(0, 2, 60)
    features = 3 * np.eye(2)[own] + random.normal(size=(60, 2))
    now = clustering(random.dirichlet([1, 1], 60), features, threshold=0.7)
    ready, after = make(now, Refit())
    out, kept = (np.flatnonzero(after.confidence_N < ready.below), np.flatnonzero(after.confidence_N >= ready.below))
    assert len(out) == (now.confidence_N < 0.7).sum()
    gap = after.confidence_N[kept].min() - after.confidence_N[out].max()
    assert abs(after.confidence_N - ready.below).min() == pytest.approx(gap / 2, rel=1e-3)


def test_the_second_cluster_of_an_image_set_by_hand_is_not_its_own():
    now = clustering(FOUR, given={0: 1, 1: 1})
    assert now.second_N[:3].tolist() == [0, 2, 0]  # the first's most probable one, which isn't its own any more
    assert clustering(FOUR).second_N[:3].tolist() == [1, 2, 0]
