import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import png_size

from imcswav.data import Split
from imcswav.evaluate import Assigned
from imcswav.results.plots import plot_clusters, plot_compared, plot_confusion, plot_curves


@pytest.mark.parametrize("labels", [[-1, 5, 10**9], [0, 1, 1]])
def test_confusion_without_names_takes_any_integers(tmp_path, labels):
    plot_confusion(tmp_path / "c.png", np.array(labels), np.array([1, 0, 2]), 3, ())
    assert png_size(tmp_path / "c.png")


def test_confusion_of_very_many_classes_stays_a_picture(tmp_path):
    random = np.random.default_rng(0)
    names = [f"class {number}" for number in range(1000)]
    plot_confusion(tmp_path / "c.png", random.integers(0, 1000, 3000), random.integers(0, 700, 3000), 700, names)
    assert max(png_size(tmp_path / "c.png")) < 3000


def test_dollars_in_names_are_dollars(tmp_path):
    plot_confusion(tmp_path / "c.png", np.array([0, 1]), np.array([0, 1]), 2, ("$\\nonsense{$", "5 $"))
    assert png_size(tmp_path / "c.png")


def test_the_legend_names_runs_that_begin_with_an_underscore(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("imcswav.results.plots.write_figure", lambda figure, path, **_: figures.append(figure))
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    plot_compared(tmp_path / "c.png", dict.fromkeys(["_mine", "other"], tmp_path / "metrics.jsonl"))
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["_mine", "other"]


def test_curves_of_logs_with_and_without_scores(tmp_path):
    plot_curves(tmp_path / "none.png", tmp_path / "metrics.jsonl")
    lines = [{"step": 1, "epoch": 0, "seconds": 1.0, "loss": 2.0, "lr": 0.1}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    plot_curves(tmp_path / "losses.png", tmp_path / "metrics.jsonl")
    lines.append({"step": 1, "epoch": 1, "seconds": 1.0, "eval/acc": 0.3})
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    plot_curves(tmp_path / "scores.png", tmp_path / "metrics.jsonl")
    none, losses, scores = (png_size(tmp_path / f"{name}.png")[0] for name in ("none", "losses", "scores"))
    assert none == losses < scores  # scores have a plot of their own


def test_curves_of_many_scales_stay_readable(tmp_path):
    line = {"step": 1, "loss": 2.0} | {f"health/number {number}": 1.0 for number in range(12)}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line))
    plot_curves(tmp_path / "curves.png", tmp_path / "metrics.jsonl")
    width, height = png_size(tmp_path / "curves.png")
    assert width < 2 * height


def gallery(path, images_NCHW, probabilities, clusters):
    names = [str(number) for number in range(len(images_NCHW))]
    split = Split(torch.from_numpy(images_NCHW), names)
    plot_clusters(path, Assigned(split, np.zeros((len(names), 2)), probabilities), clusters)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_gallery_puts_the_most_confident_images_of_each_cluster_in_its_row(tmp_path):
    """Cluster 0 has red images, the confident ones bright; cluster 1 green; cluster 2 none."""
    count = 40
    images = np.zeros((count, 3, 8, 8), dtype=np.uint8)
    probabilities = np.zeros((count, 3))
    for i in range(count):
        cluster, confidence = i % 2, 0.6 + 0.4 * (i >= 20) - 0.001 * i
        images[i, cluster] = 250 if i >= 20 else 100
        probabilities[i, cluster] = confidence
    pixels = gallery(tmp_path / "clusters.png", images, probabilities, 3)
    red, green = (np.argwhere((pixels[..., c] > 200) & (pixels.sum(-1) < 300)) for c in (0, 1))
    assert len(red)
    assert len(green)
    assert red[:, 0].max() < green[:, 0].min()  # rows do not mix
    dim = (pixels[..., 0] > 80) & (pixels[..., 0] < 120) & (pixels[..., 1:].sum(-1) == 0)
    assert np.argwhere(dim)[:, 1].min() > red[:, 1].max()  # the less confident stand right of the confident


@pytest.mark.parametrize(("channels", "clusters"), [(1, 2), (5, 100)])
def test_gallery_of_any_channels_and_many_clusters(tmp_path, channels, clusters):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, channels, 8, 8), dtype=np.uint8)
    pixels = gallery(tmp_path / "clusters.png", images, rng.dirichlet(np.ones(clusters), 30), clusters)
    assert max(pixels.shape[:2]) < 24 * 120 + 1
