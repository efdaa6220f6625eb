"""The strong component: shapes, draws, what each setting does, settings, channels."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.utils._python_dispatch import TorchDispatchMode

from imcswav.errors import RecipeError
from imcswav.views import CropGroup
from imcswav.views import strong as module
from imcswav.views.strong import Strong

WHOLE = {"size": 16, "scale": [1.0, 1.0], "ratio": [1.0, 1.0], "flip": 0.0}
"""The whole of a 16-pixel image."""
PLAIN = {"operations": 0, "cutout": 0.0}


def make(channels=3, mean=None, std=None, **settings):
    config = Strong.Config(**{"size": 12, "count": 2, **settings})
    return config.build(channels=channels, mean=mean or (0.5,) * channels, std=std or (0.25,) * channels)


def images(batch=8, channels=3, height=16, width=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (14, 21)])
def test_one_weak_global_view_then_strong_ones(channels, height, width):
    views = make(channels, count=3)
    weak, strong = views(images(40, channels, height, width), 1)
    assert weak.shape == (1, 40, channels, 12, 12)
    assert strong.shape == (3, 40, channels, 12, 12)
    for crops in (weak, strong):
        assert crops.dtype == torch.float32
        assert crops.transpose(0, 1).is_contiguous()  # image-major
        assert crops.isfinite().all()
    assert views.config.groups() == [CropGroup(1, 12), CropGroup(3, 12)]


def test_draws_depend_on_the_seed_alone():
    views, batch = make(), images()
    first = views(batch, 5)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second, tensor_seed, other = views(batch, 5), views(batch, torch.tensor(5)), views(batch, 6)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b, c, d in zip(first, second, tensor_seed, other, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
        assert not torch.isclose(a, d).flatten(2).all(-1).any()


def test_all_views_of_an_image_differ():
    same = images(1, height=60, width=60).expand(20, -1, -1, -1)  # with few pixels, boxes would now and then agree
    crops = torch.cat(make(count=3)(same, 0)).flatten(0, 1).flatten(1)
    assert torch.pdist(crops).min() > 0


def test_ranks_draw_the_crops_and_squares_of_one_process(monkeypatch):
    views, batch = make(operations=0), images(16)
    together = views(batch, 3)
    monkeypatch.setattr(module, "world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
        for all_of_them, mine in zip(together, views(batch[rank::2], 3), strict=True):
            torch.testing.assert_close(all_of_them[:, rank::2], mine)


def test_no_setting_changes_the_draws_of_another_step():
    batch = images(28, height=20, width=20)
    weak, plain = make(**PLAIN)(batch, 2)
    for settings in ({"operations": 2, "cutout": 0.0}, {"operations": 0, "cutout": 0.5}):
        assert torch.equal(make(**settings)(batch, 2)[0], weak)
    square = make(operations=0, cutout=0.4)(batch, 2)[1]
    assert torch.equal(square[square != 0], plain[square != 0])
    once = make(operations=1, cutout=0.0)(batch, 2)[1]
    both = make(operations=1, cutout=0.4)(batch, 2)[1]
    assert torch.equal(both[square != 0], once[square != 0])


def test_plain_strong_views_are_the_normalised_images():
    batch, mean, std = images(), (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    own = Strong.Config(**WHOLE, **PLAIN, mean=mean, std=std).build(channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    for views in (make(mean=mean, std=std, **WHOLE, **PLAIN), own):
        for crops in views(batch, 0):
            for view in crops:
                torch.testing.assert_close(view, views.whole(batch), atol=1e-5, rtol=1e-5)
    assert own.mean == mean


def test_the_weak_view_is_only_cropped_and_mirrored():
    batch = images(400)
    views = make(**{**WHOLE, "flip": 0.3})
    weak, whole = views(batch, 0)[0][0], views.whole(batch)
    same = torch.isclose(weak, whole, atol=1e-4).flatten(1).all(1)
    mirrored = torch.isclose(weak, whole.flip(-1), atol=1e-4).flatten(1).all(1)
    assert (same | mirrored).all()
    assert abs(mirrored.float().mean() - 0.3) < 0.07


@pytest.mark.parametrize("operations", [1, 3])
def test_an_image_keeps_its_looks_as_often_as_all_its_operations_are_the_identity_or_idle(operations):
    batch = images(700, seed=1)
    batch[:, :, 0, 0], batch[:, :, 0, 1] = 0, 255  # autocontrast has nothing to stretch
    views = make(**WHOLE, operations=operations, magnitude=[0.0, 0.0], cutout=0.0)
    crops, whole = views(batch, 4)[1], views.whole(batch)
    # at no strength only equalisation does anything, and 16 × 16 pixels have a step of 0 or 1 for it
    kept = torch.isclose(crops, whole, atol=1e-4).flatten(2).all(-1).float().mean()
    assert kept >= (13 / 14) ** operations - 0.02


def test_strength_changes_images_more():
    batch = images(200, seed=1)
    whole = make(**WHOLE).whole(batch)
    changes = []
    for magnitude in (0.05, 0.3, 1.0):
        views = make(**WHOLE, operations=2, magnitude=[magnitude, magnitude], cutout=0.0)
        changes.append((views(batch, 1)[1] - whole).abs().mean().item())
    assert changes == sorted(changes)
    assert changes[2] > 1.5 * changes[0]


def test_what_comes_into_sight_or_is_blotted_out_is_the_mean():
    mean = (51 / 255, 102 / 255, 153 / 255)
    batch = torch.tensor(mean).mul(255).round().byte().view(1, 3, 1, 1).expand(64, 3, 16, 16)
    everything = make(**WHOLE, mean=mean, operations=0, cutout=0.7)(batch, 0)[1]
    torch.testing.assert_close(everything, torch.zeros_like(everything), atol=1e-5, rtol=0)
    white = torch.full((300, 3, 16, 16), 255, dtype=torch.uint8)
    warped = make(**WHOLE, mean=mean, operations=1, magnitude=[1.0, 1.0], cutout=0.0)(white, 0)[1]
    at_mean = (warped.abs() < 1e-5).all(2).flatten(2).any(-1)  # some pixel has the mean colour
    assert abs(at_mean.float().mean() - 5 / 14) < 0.01  # the five warps; nothing else turns white into it


def test_cutout_hides_its_share():
    strong = make(**{**WHOLE, "size": 32}, operations=0, cutout=0.5)(images(2000, height=32, width=32), 1)[1]
    hidden = (strong == 0).all(2).float().mean()
    assert abs(hidden - (0.875 * 0.5) ** 2) < 0.01  # half of the centres are so near a border that they lose a quarter


def test_grey_images_go_through_every_operation_but_saturation():
    batch = images(280, channels=1)
    views = make(1, **WHOLE, operations=1, magnitude=[1.0, 1.0], cutout=0.0)
    changed = ~torch.isclose(views(batch, 0)[1], views.whole(batch), atol=1e-4).flatten(2).all(-1)
    assert 9 / 14 < changed.float().mean() < 12.5 / 14  # identity and saturation, autocontrast of full-range noise


def test_other_channel_counts_are_refused():
    with pytest.raises(RecipeError, match="needs images of 1 or 3 channels, but these have 4"):
        make(4)
    assert not Strong.Config(size=8).check_channels(1)
    (problem,) = Strong.Config(size=8, mean=[0.1, 0.2]).check_channels(3)
    assert str(problem).startswith("mean: has 2 values, but the images have 3 channels.")


def test_mild_views_are_those_of_multicrop():
    views, batch = make(), images(3, height=14, width=21)
    several = views.mild(batch, 4)
    assert [tuple(view.shape) for view in several] == [(3, 3, 14, 21)] * 4
    assert torch.equal(several[0], views.whole(batch))
    assert not torch.equal(several[1], several[2])


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"size": 0}, ("size",)),
        ({"count": 0}, ("count",)),
        ({"scale": [0.5, 0.4]}, ()),
        ({"scale": [0.0, 0.4]}, ("scale", 0)),
        ({"ratio": [2.0, 1.0]}, ()),
        ({"magnitude": [0.5, 0.4]}, ()),
        ({"magnitude": [0.5, 1.4]}, ("magnitude", 1)),
        ({"operations": -1}, ("operations",)),
        ({"cutout": 1.5}, ("cutout",)),
        ({"std": [0.0, 1.0, 1.0]}, ("std", 0)),
    ],
)
def test_settings_are_checked(settings, place):
    with pytest.raises(ValidationError) as caught:
        Strong.Config(**{"size": 8, **settings})
    assert caught.value.errors()[0]["loc"] == place


def test_half_precision_around_it_changes_nothing():
    views, batch = make(), images()
    expected = views(batch, 1)
    with torch.autocast("cpu", torch.bfloat16):
        found = views(batch, 1)
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a, b)


class Operations(TorchDispatchMode):
    """Names of the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def count_operations(batch):
    views = make()
    views(batch, 0)  # fills the tables kept on the device
    with Operations() as seen:
        views(batch, 1)
    return seen.names


def test_no_operator_waits_for_the_host_or_goes_over_images_one_by_one():
    names = count_operations(images(64))
    assert not {"_local_scalar_dense", "nonzero", "masked_select", "lift_fresh"} & set(names)
    assert len(names) == len(count_operations(images(256)))
    assert names.count("grid_sampler_2d") == 4  # one for each operation in turn


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_draws_the_same_and_never_waits():
    views, batch = make(), images(64)
    expected, on_device = views(batch, 3), batch.cuda()
    views(on_device, 3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = views(on_device, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for a, b in zip(expected, found, strict=True):
        assert np.mean(torch.isclose(a, b.cpu(), atol=0.05).numpy()) > 0.98
