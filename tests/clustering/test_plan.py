import numpy as np
import pytest
from clustering.made import photographs
from PIL import Image

import imcswav
from imcswav.clustering.plan import BACKBONE, plan
from imcswav.errors import DataError, ImcswavError, RunError
from imcswav.recipe.files import load_recipe


def grey(folder, side):
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def loaded(found):
    return load_recipe(found.recipe, {**found.changes, "clusters": 3})


def test_a_pretrained_network_is_taken_as_it_is(tmp_path):
    photographs(tmp_path)
    recipe = loaded(plan(tmp_path))
    assert (recipe.learner.owner.name, recipe.trainer.epochs) == ("frozen", 0)
    assert (recipe.learner.backbone.model, recipe.learner.backbone.pretrained) == (BACKBONE, True)
    assert (recipe.data.root, recipe.data.splits, recipe.data.size) == (str(tmp_path), "none", 224)


def test_best_trains_it_on(tmp_path):
    photographs(tmp_path)
    recipe = loaded(plan(tmp_path, quality="best", backbone="resnet18"))
    assert (recipe.learner.owner.name, recipe.learner.backbone.model) == ("multiview", "resnet18")
    assert recipe.learner.backbone.pretrained
    assert recipe.trainer.epochs > 0


@pytest.mark.parametrize(
    ("side", "cuda", "recipe", "channels"),
    [(8, False, "digits", 1), (28, False, "folder_small", 1), (8, True, "digits", 1)],
)
def test_grey_images_from_scratch(tmp_path, side, cuda, recipe, channels):
    found = plan(grey(tmp_path / "grey", side), scratch=True, cuda=cuda)
    assert found.recipe == recipe
    assert recipe in found.why
    assert loaded(found).data.channels == channels


@pytest.mark.parametrize(("cuda", "recipe"), [(False, "folder_small"), (True, "folder")])
def test_colour_images_from_scratch(tmp_path, cuda, recipe):
    photographs(tmp_path)
    (tmp_path / "broken.png").write_text("no image")
    found = plan(tmp_path, scratch=True, cuda=cuda)
    assert found.recipe == recipe
    assert loaded(found).data.channels == 3
    assert loaded(found).trainer.batch_size == 12  # of 25 files


@pytest.mark.parametrize(("distinct", "batch"), [(False, 24), (True, 6)])
def test_batches_are_of_what_will_be_trained_on(tmp_path, distinct, batch):
    photographs(tmp_path, count=12)
    for copy in range(3):
        for path in sorted(tmp_path.glob("photo*.png")):
            (tmp_path / f"{copy} {path.name}").write_bytes(path.read_bytes())
    for number in range(30):
        (tmp_path / f"broken {number}.png").write_text("no image")
    assert loaded(plan(tmp_path, scratch=True, distinct=distinct)).trainer.batch_size == batch


def test_few_images_are_trained_on_in_smaller_batches(tmp_path):
    photographs(tmp_path, count=10)
    assert loaded(plan(tmp_path, quality="best", backbone="resnet18")).trainer.batch_size == 5
    assert "trainer.batch_size" not in plan(tmp_path, backbone="resnet18").changes


def test_a_run_of_small_batches_is_trained_on_in_such(tiny, tmp_path):
    photographs(tmp_path / "photos", count=20)
    done = imcswav.run(tiny, {"trainer.max_steps": 1, "trainer.batch_size": 4}, out=tmp_path / "run")
    assert loaded(plan(tmp_path / "photos", backbone=str(done.path), quality="best")).trainer.batch_size == 4


def test_best_of_a_run_takes_images_as_the_run_had_them(tiny, tmp_path):
    grey(tmp_path / "photos", 20)
    done = imcswav.run(tiny, {"trainer.max_steps": 1}, out=tmp_path / "run")
    found = plan(tmp_path / "photos", backbone=str(done.path), quality="best")
    facts = done.load("cpu").facts
    assert [found.changes[f"data.{name}"] for name in ("size", "channels", "resize")] == [
        facts.size, facts.channels, facts.resize,
    ]  # fmt: skip
    assert load_recipe(found.recipe, found.changes).data.size == facts.size


def test_mistakes_are_one_sentence(tmp_path):
    photographs(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImcswavError, match="--from-scratch and --backbone can't go together"):
        plan(tmp_path / "photos", scratch=True, backbone="resnet18")
    with pytest.raises(DataError, match="There is no folder"):
        plan(tmp_path / "nowhere")
    with pytest.raises(DataError, match="There are no images"):
        plan(tmp_path / "empty", scratch=True)
    with pytest.raises(RunError, match="is no run folder"):
        plan(tmp_path / "photos", backbone=str(tmp_path / "empty"))
