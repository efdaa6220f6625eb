import subprocess
import sys

import numpy as np
import pytest
import torch
from imcswav_fewshot import METHODS, SLK, Episodes, accuracies, draw_episodes, interval
from imcswav_fewshot.__main__ import main, measure, table
from imcswav_fewshot.evaluate import BASELINE, predict
from imcswav_fewshot.prepare import centred_unit, shift, shifted
from imcswav_fewshot.sources import Source, read, split_classes

import imcswav
from imcswav.clusterers import Known
from imcswav.errors import DataError

LABELS = np.arange(200) % 8


def test_episodes():
    drawn = draw_episodes(LABELS, [1, 3, 4, 6, 7], ways=3, shots=2, queries=4, episodes=50, seed=0)
    assert drawn.rows_EN.shape == drawn.labels_EN.shape == (50, 18)
    assert drawn.labels_EN[7].tolist() == [0, 0, 1, 1, 2, 2] + [0] * 4 + [1] * 4 + [2] * 4
    seen = set()
    for rows, labels in zip(drawn.rows_EN, drawn.labels_EN, strict=True):
        assert len(rows.unique()) == 18
        classes = [set(LABELS[rows[labels == k]].tolist()) for k in range(3)]
        assert all(len(one) == 1 for one in classes)
        assert len(set.union(*classes)) == 3
        seen |= set.union(*classes)
    assert seen == {1, 3, 4, 6, 7}
    assert drawn.known_EN[0].tolist() == [0, 0, 1, 1, 2, 2] + [-1] * 12
    again, other = (draw_episodes(LABELS, [1, 3, 4], ways=3, queries=4, seed=seed) for seed in (0, 1))
    assert (draw_episodes(LABELS, [1, 3, 4], ways=3, queries=4, seed=0).rows_EN == again.rows_EN).all()
    assert (again.rows_EN != other.rows_EN).any()


def test_episodes_that_can_not_be_drawn():
    with pytest.raises(DataError, match="5 classes can't be drawn from 2"):
        draw_episodes(LABELS, [0, 1])
    with pytest.raises(DataError, match=r"Class 0 has 25 images, and a task takes 20 \+ 15"):
        draw_episodes(LABELS, range(5), shots=20)
    with pytest.raises(DataError, match="1 or more"):
        draw_episodes(LABELS, range(5), shots=0)


def test_features_are_centred_then_scaled():
    x, mean = np.random.default_rng(0).normal(size=(6, 3)), np.array([1.0, 2.0, 3.0])
    expected = np.stack([(row - mean) / np.sqrt(((row - mean) ** 2).sum()) for row in x])
    found = centred_unit(torch.from_numpy(x), torch.from_numpy(mean))
    np.testing.assert_allclose(found, expected)
    scaled_first = x / np.linalg.norm(x, axis=1, keepdims=True) - mean
    assert np.abs(expected - scaled_first).max() > 0.1
    assert centred_unit(torch.zeros(1, 3), None).tolist() == [[0, 0, 0]]


def test_queries_are_moved_to_the_support():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 10, 3)))
    known = torch.full((2, 10), -1)
    known[0, :4], known[1, 5:7] = 1, 0
    found = shifted(x, known)
    for e in range(2):
        given = known[e] >= 0
        assert (found[e, given] == x[e, given]).all()
        np.testing.assert_allclose(found[e, ~given].mean(0), x[e, given].mean(0))
        np.testing.assert_allclose(
            found[e, ~given] - x[e, ~given], (x[e, given].mean(0) - x[e, ~given].mean(0)).expand(int((~given).sum()), 3)
        )
    assert shift(x, torch.full((2, 10), -1)).abs().max() == 0
    assert shift(x, torch.zeros(2, 10, dtype=torch.int64)).abs().max() == 0


def test_accuracy_counts_queries_only_and_the_baseline_is_the_nearest_mean():
    x = np.random.default_rng(0).normal(size=(200, 4)) + np.eye(8, 4)[LABELS]
    drawn = draw_episodes(LABELS, range(8), ways=3, shots=2, queries=5, episodes=6)
    mean = x.mean(0)
    unit = np.stack([(row - mean) / np.linalg.norm(row - mean) for row in x])
    found = accuracies(x, drawn, {BASELINE: None}, mean)[BASELINE]
    for e in range(6):
        support, queries = unit[drawn.rows_EN[e, :6]], unit[drawn.rows_EN[e, 6:]]
        prototypes = [(support[2 * k] + support[2 * k + 1]) / 2 for k in range(3)]
        right = [
            min(range(3), key=lambda k, row=row: ((row - prototypes[k]) ** 2).sum()) == i // 5
            for i, row in enumerate(queries)
        ]
        assert found[e].item() == pytest.approx(sum(right) / 15)


@pytest.mark.parametrize("settings", [{}, {"prototypes": "mode"}, {"shift": True, "clamp": False}])
def test_episodes_at_once_are_the_clusterer_one_by_one(settings):
    x = np.random.default_rng(0).normal(size=(200, 4)) + 1.5 * np.eye(8, 4)[LABELS]
    drawn = draw_episodes(LABELS, range(8), ways=3, shots=2, queries=5, episodes=5)
    labels = predict(torch.from_numpy(x)[drawn.rows_EN], drawn, SLK.Config(**settings))
    for e in range(5):
        clusterer = SLK.create(clusters=3, seed=0, center=False, normalize=False, **settings)
        alone = clusterer.fit(x[drawn.rows_EN[e]], Known(np.arange(6), np.arange(6) // 2))
        assert alone.tolist() == labels[e].tolist()


def test_queries_in_another_order_get_the_same_labels():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 4)))
    drawn = draw_episodes(LABELS, range(8), ways=3, shots=1, queries=5, episodes=4)
    order = torch.cat([torch.arange(3), 3 + torch.randperm(15, generator=torch.Generator().manual_seed(0))])
    turned = Episodes(drawn.rows_EN[:, order], drawn.labels_EN[:, order], 3, 1)
    for name, config in METHODS.items():
        first, second = (predict(x[one.rows_EN], one, config) for one in (drawn, turned))
        assert (first[:, order] == second).all(), name


def test_interval():
    values = torch.tensor([0.2, 0.4, 0.9], dtype=torch.float64)
    deviation = np.sqrt(((0.2 - 0.5) ** 2 + (0.4 - 0.5) ** 2 + (0.9 - 0.5) ** 2) / 2)
    assert interval(values) == pytest.approx((0.5, 1.96 * deviation / np.sqrt(3)))


def test_clustering_gains_on_digits():
    """What the README's table says, for one seed: at least 6 points at 1 shot, and never worse at 5."""
    source = read("digits", ["data.size=8"])
    assert source.features_NF.shape == (1797, 64)
    cells = measure(source, [5, 6, 7, 8, 9], 5, [1, 5], 15, 200, [0])

    def gain(name, column):
        return interval(cells[name][column][0] - cells[BASELINE][column][0])

    assert gain("slk, means", "1-shot").mean >= 0.06
    assert gain("k-means", "1-shot").mean >= 0.06
    assert gain("slk, means", "5-shot").mean - gain("slk, means", "5-shot").half > 0
    lines = table(cells)
    assert lines[0] == "| method | 1-shot | gain | 5-shot | gain |"
    assert len(lines) == 2 + len(METHODS)


def test_sources(tmp_path):
    x, labels = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    np.savez(tmp_path / "good.npz", features=x, labels=labels)
    found = read(str(tmp_path / "good.npz"))
    assert (found.features_NF == x).all()
    assert (found.labels_N == labels).all()
    np.savez(tmp_path / "bare.npz", features=x)
    np.savez(tmp_path / "odd.npz", features=x, labels=labels[:3])
    np.savez(tmp_path / "unknown.npz", features=x, labels=np.full(30, -1))
    np.savez(tmp_path / "nan.npz", features=x * np.nan, labels=labels)
    for name, words in {
        "bare": "no archive with features and labels", "none": "no archive", "odd": "must hold", "unknown": "No class",
        "nan": "NaN",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=words):
            read(str(tmp_path / f"{name}.npz"))


def test_classes():
    source = Source(np.arange(8.0).reshape(8, 1), np.array([0, 0, 1, 1, 2, 2, -1, -1]))
    classes, mean = split_classes(source, [2])
    assert classes == [2]
    assert mean.tolist() == [1.5]  # of classes 0 and 1; images of no known class are left out
    assert split_classes(source, []) == ([0, 1, 2], None)
    with pytest.raises(DataError, match="no class 5"):
        split_classes(source, [5])


def test_features_of_a_run(tmp_path, capsys):
    recipe = {
        "name": "slk", "clusters": 10, "data": {"name": "digits", "size": 8}, "clusterer": {"name": "slk", "n_init": 1},
        "learner": {"name": "frozen", "backbone": {"name": "small_resnet", "stem": 4, "widths": [8], "strides": [2]}},
        "trainer": {"epochs": 0, "threads": 1, "precision": "fp32"},
    }  # fmt: skip
    result = imcswav.run(recipe, out=tmp_path / "run", warn=lambda problem: None)
    source = read(str(result.path))
    assert source.features_NF.shape == (1797, 8)
    model = result.load()
    assert type(model.clusterer) is SLK
    images = imcswav.load_recipe(recipe).data.build().train.images
    np.testing.assert_allclose(source.features_NF, model.transform(images.numpy()), atol=1e-5)
    main(str(result.path), "0-9", 5, "1", 5, 4, "0,1", None)
    assert "| slk, means |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "text", "sentence"),
    [
        ("--novel", "5-x", "'5-x' is no list of whole numbers; write them as 0-2,5."),
        ("--shots", "1,5-1", "'5-1' counts down; write 1-5."),
        ("--shots", "", "--shots names no number; write them as 0-2,5."),
        ("--seeds", "", "--seeds names no number; write them as 0-2,5."),
    ],
)
def test_a_mistake_is_a_sentence(option, text, sentence):
    done = subprocess.run(
        [sys.executable, "-m", "imcswav_fewshot", "digits", option, text], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (2, f"{sentence}\n")
