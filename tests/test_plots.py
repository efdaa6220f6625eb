import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import png_size

from imcswav.data import Split
from imcswav.evaluate import Assigned
from imcswav.plots import plot_clusters, plot_confusion, plot_curves


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


def gallery(tmp_path, images, clusters_N, clusters):
    probabilities = np.full((len(images), clusters), 0.1, dtype=np.float32)
    probabilities[np.arange(len(images)), clusters_N] = np.linspace(0.5, 0.9, len(images))
    names = [str(number) for number in range(len(images))]
    assigned = Assigned(Split(images, names), np.zeros((len(images), 2)), probabilities)
    plot_clusters(tmp_path / "g.png", assigned, clusters)
    return tmp_path / "g.png"


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_gallery_shows_images_of_each_cluster(tmp_path, channels):
    """A bright and a dark cluster, and an empty one."""
    images = torch.full((20, channels, 8, 8), 200, dtype=torch.uint8)
    images[10:] = 40
    path = gallery(tmp_path, images, np.repeat([0, 2], 10), 3)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    top, middle, bottom = np.array_split(pixels, 3)
    assert (top == 200).mean() > 0.1
    assert (bottom == 40).mean() > 0.1
    assert not ((middle == 200) | (middle == 40)).any(axis=1).all()


def test_gallery_of_many_clusters_shows_the_largest(tmp_path):
    images = torch.zeros(100, 3, 4, 4, dtype=torch.uint8)
    assert png_size(gallery(tmp_path, images, np.arange(100) % 70, 100))[1] < 3000
