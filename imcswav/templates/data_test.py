import torch
from imcswav_mine import Mine

from imcswav.plugins import registry
from imcswav.testing import check_component


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("data", "mine") is Mine


def test_a_seed_gives_the_same_images_again_and_as_many_of_each_class() -> None:
    one, again, other = (Mine.create(images=30, seed=seed).train for seed in (1, 1, 2))
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)
    assert one.labels is not None
    assert one.labels.bincount().tolist() == [10, 10, 10]
