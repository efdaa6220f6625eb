import torch
from imcswav_mine import Mine

from imcswav.plugins import registry
from imcswav.testing import check_component

CROPS = [{"count": 2, "size": 10, "scale": [0.5, 1.0]}]


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("views", "mine") is Mine


def test_each_crop_loses_a_patch_of_the_size_asked_for() -> None:
    white_BCHW = torch.full((5, 3, 12, 12), 255, dtype=torch.uint8)
    known = {"crops": CROPS, "channels": 3, "mean": (0.5,) * 3, "std": (0.25,) * 3, "brightness": 0.0, "contrast": 0.0}
    (x_vBCss,) = Mine.create(erase=1.0, patch=0.4, **known)(white_BCHW, 1)
    assert ((x_vBCss == 0).sum((-2, -1)) == 4 * 4).all()
    (whole_vBCss,) = Mine.create(erase=0.0, **known)(white_BCHW, 1)
    assert (whole_vBCss > 0).all()
