import numpy as np
import pytest
import torch
from tiny import blobs

import imcswav
from imcswav.backbones.pixels import Pixels
from imcswav.check import check_recipe
from imcswav.cost import estimate
from imcswav.data.array import ArrayData
from imcswav.recipe.files import load_recipe

RECIPE = {
    "name": "pixels", "clusters": 2, "data": {"name": "array"}, "learner": {"name": "frozen"}, "backbone": "pixels",
    "clusterer": {"name": "kmeans"}, "trainer": {"epochs": 0, "device": "cpu"},
    "callbacks": {"tensorboard": {"enabled": False}},
}  # fmt: skip


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_features_are_channels_rows_columns(memory_format):
    images = torch.arange(2 * 3 * 4 * 4).float().view(2, 3, 4, 4)
    net = Pixels.create(channels=3, image_size=4)
    expected = [[images[m, c, y, x].item() for c in range(3) for y in range(4) for x in range(4)] for m in range(2)]
    assert net(images.to(memory_format=memory_format)).tolist() == expected
    assert net.features == 48
    assert not list(net.parameters())


def test_another_size_is_resized_without_aliasing():
    net = Pixels.create(channels=1, image_size=4)
    stripes = torch.tensor([0.0, 2.0]).repeat(8).expand(1, 1, 16, 16)  # one pixel wide: only their mean is left
    torch.testing.assert_close(net(stripes)[0].view(4, 4)[:, 1:3], torch.ones(4, 2))
    steps = torch.tensor([[1.0, 5.0]]).expand(1, 1, 2, 2)
    torch.testing.assert_close(net(steps)[0].view(4, 4), torch.tensor([1.0, 2.0, 4.0, 5.0]).expand(4, 4))


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_a_run_without_any_network(tmp_path, monkeypatch, precision):
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    pixels, labels = blobs()
    done = imcswav.run(
        RECIPE, {"trainer.precision": precision}, out=tmp_path / "run", data=ArrayData.of(pixels, labels=labels)
    )
    assert done.summary["acc"] == 1.0
    model = done.load("cpu")
    assert model.transform(pixels).shape == (len(pixels), pixels[0].size)
    np.testing.assert_array_equal(model.predict(pixels) == model.predict(pixels)[0], labels == labels[0])


def test_what_a_recipe_without_weights_costs(tmp_path):
    path = tmp_path / "pixels.toml"
    path.write_text(
        'name = "pixels"\nclusters = 10\ndata = "digits"\nlearner = "frozen"\nbackbone = "pixels"\n'
        'clusterer = "kmeans"\ntrainer = { epochs = 0 }\n'
    )
    recipe = load_recipe(path)
    assert check_recipe(recipe) == []
    assert estimate(recipe).parameters == 0


def test_crops_of_every_size_train_heads_on_pixels(tiny, tmp_path):
    tiny["backbone"] = "pixels"
    summary = imcswav.run(tiny, {"trainer.max_steps": 2}, out=tmp_path / "run").summary
    assert summary["steps"] == 2
