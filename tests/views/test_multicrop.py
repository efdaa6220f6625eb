"""The multicrop component: shapes, draws, normalisation, settings, mild views."""

import pytest
import torch
from pydantic import ValidationError
from torch.utils._python_dispatch import TorchDispatchMode

from imcswav.errors import RecipeError
from imcswav.views import CropGroup
from imcswav.views import multicrop as module
from imcswav.views.multicrop import MultiCrop

CROPS = [{"count": 2, "size": 12, "scale": [0.2, 1.0]}, {"count": 3, "size": 8, "scale": [0.08, 0.4]}]
PLAIN = {"flip": 0.0, "jitter": 0.0, "grey": 0.0}
WHOLE = [{"count": 1, "size": 16, "scale": [1.0, 1.0]}]


def make(channels=3, mean=None, std=None, **settings):
    statistics = {"mean": mean or (0.5,) * channels, "std": std or (0.25,) * channels}
    config = MultiCrop.Config(**{"crops": CROPS, **settings})
    return config.build(channels=channels, **statistics)


def images(batch=8, channels=3, height=16, width=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)


def untouched(config=None):
    """Crops that show the whole 16-pixel image: what is left to change is what the settings switch on."""
    return {"crops": WHOLE, "ratio": [1.0, 1.0], **PLAIN, **(config or {})}


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (14, 21)])
def test_shapes_with_the_global_group_first(channels, height, width):
    views = make(channels, blur=0.5, solarize=0.5, rotation=15.0)
    globals_, locals_ = views(images(6, channels, height, width), 1)
    assert globals_.shape == (2, 6, channels, 12, 12)
    assert locals_.shape == (3, 6, channels, 8, 8)
    for crops in (globals_, locals_):
        assert crops.dtype == torch.float32
        assert crops.transpose(0, 1).is_contiguous()  # image-major
        assert crops.isfinite().all()
    assert views.config.groups() == [CropGroup(2, 12), CropGroup(3, 8)]


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


def test_views_and_images_of_a_batch_differ():
    same = images(1).expand(8, -1, -1, -1)
    crops = make()(same, 0)[1].flatten(0, 1).flatten(1)
    assert torch.pdist(crops).min() > 0


def test_draws_are_keyed_by_position():
    views = make(**PLAIN | {"flip": 0.5, "grey": 0.5})
    batch = images(8)
    for all_of_them, half in zip(views(batch, 3), views(batch[:4], 3), strict=True):
        torch.testing.assert_close(all_of_them[:, :4], half)


def test_ranks_draw_what_one_process_draws(monkeypatch):
    views, batch = make(), images(16)
    together = views(batch, 3)
    monkeypatch.setattr(module, "world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
        for all_of_them, mine in zip(together, views(batch[rank::2], 3), strict=True):
            torch.testing.assert_close(all_of_them[:, rank::2], mine)


def test_switching_a_step_on_leaves_the_other_draws():
    batch = images()
    plain, some = make(**PLAIN)(batch, 2)[0], make(**PLAIN | {"grey": 0.5})(batch, 2)[0]
    unchanged = torch.isclose(plain, some).flatten(2).all(-1).float().mean()
    assert 0.1 < unchanged < 0.9


def test_normalisation_is_the_data_sets_or_the_configs():
    batch, mean, std = images(), (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    given, own = make(mean=mean, std=std, **untouched()), make(**untouched({"mean": mean, "std": std}))
    constants = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    expected = (batch / 255).sub(next(constants)).div(next(constants))
    for views in (given, own):
        torch.testing.assert_close(views(batch, 0)[0][0], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(views.whole(batch), expected)
    assert own.mean == mean


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({"flip": 0.3}, 0.3),
        ({"grey": 0.25}, 0.25),
        ({"solarize": 0.4}, 0.4),
        ({"blur": 0.6, "blur_sigma": [0.5, 2.0]}, 0.6),
        ({"jitter": 0.8}, 0.8),
    ],
)
def test_rates(settings, rate):
    batch = images(2000, seed=1)
    views = make(**untouched(settings))
    changed = ~torch.isclose(views(batch, 4)[0][0], views.whole(batch), atol=1e-3).flatten(1).all(1)
    assert abs(changed.float().mean() - rate) < 0.04


def test_steps_are_independent():
    views = make(mean=(0.0,) * 3, std=(1.0,) * 3, **untouched({"grey": 0.5, "solarize": 0.5}))
    crops = views(images(2000, seed=1), 4)[0][0]
    grey = (crops.amax(1) - crops.amin(1)).flatten(1).amax(1) < 1e-5
    solarized = crops.flatten(1).amax(1) <= 128 / 255
    assert abs((grey & solarized).float().mean() - 0.25) < 0.04
    assert abs((grey | solarized).float().mean() - 0.75) < 0.04


@pytest.mark.parametrize("channels", [1, 5])
def test_without_colours_saturation_hue_and_grey_are_left_out(channels):
    batch = images(channels=channels)
    colour_only = {"jitter": 1.0, "brightness": 0.0, "contrast": 0.0, "grey": 1.0}
    views = make(channels, **untouched(colour_only))
    torch.testing.assert_close(views(batch, 0)[0][0], views.whole(batch), atol=1e-5, rtol=1e-5)
    changed = make(channels, **untouched({"jitter": 1.0}))(batch, 0)[0][0]
    assert not torch.isclose(changed, views.whole(batch)).flatten(1).all(1).any()


def test_one_mild_view_is_the_whole_image():
    views, batch = make(), images(height=14, width=21)
    (only,) = views.mild(batch, 1)
    assert torch.equal(only, views.whole(batch))


def test_mild_views_are_the_same_crops_for_every_image():
    views, batch = make(), images(3, height=14, width=21)
    several = views.mild(batch, 4)
    assert [tuple(view.shape) for view in several] == [(3, 3, 14, 21)] * 4
    for one, again in zip(several, views.mild(batch[1:2], 4), strict=True):
        torch.testing.assert_close(one[1:2], again)
    level = make(mean=(0.0,) * 3, std=(1.0,) * 3).mild(torch.full((1, 3, 16, 16), 51, dtype=torch.uint8), 4)
    for view in level:
        torch.testing.assert_close(view, torch.full_like(view, 0.2))


@pytest.mark.parametrize(("flip", "mirrored"), [(0.5, [False, True, False, True]), (0.0, [False] * 4)])
def test_every_second_mild_view_is_mirrored_if_crops_are(flip, mirrored):
    ramp = torch.arange(0, 240, 15, dtype=torch.uint8).expand(1, 3, 16, 16)
    falls = [bool(view[0, 0, 0, 0] > view[0, 0, 0, -1]) for view in make(flip=flip).mild(ramp, 4)]
    assert falls == mirrored


def test_mild_crops_keep_most_of_the_area():
    ramp = torch.arange(0, 240, 15, dtype=torch.uint8).expand(1, 3, 16, 16)
    both = torch.cat([ramp, ramp.mT])
    views = make(mean=(0.0,) * 3, std=(1.0,) * 3)
    for view in views.mild(both, 6)[1:]:
        across, down = ((view[k, 0].max() - view[k, 0].min()) * 255 / 15 + 1 for k in (0, 1))
        assert 0.55 < across * down / 256 <= 1.01


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"crops": []}, ("crops",)),
        ({"crops": [{"count": 1, "size": 0, "scale": [0.1, 1]}]}, ("crops", 0, "size")),
        ({"crops": [{"count": 0, "size": 8, "scale": [0.1, 1]}]}, ("crops", 0, "count")),
        ({"crops": [{"count": 1, "size": 8, "scale": [0.5, 0.4]}]}, ("crops", 0)),
        ({"crops": [{"count": 1, "size": 8, "scale": [0.0, 0.4]}]}, ("crops", 0, "scale", 0)),
        ({"crops": [{"count": 1, "size": 8, "scale": [0.5, 1.1]}]}, ("crops", 0, "scale", 1)),
        ({"ratio": [2.0, 1.0]}, ()),
        ({"blur_sigma": [2.0, 1.0]}, ()),
        ({"hue": 0.6}, ("hue",)),
        ({"grey": 1.5}, ("grey",)),
        ({"std": [0.0, 1.0, 1.0]}, ("std", 0)),
        ({"greyscale": 0.2}, ("greyscale",)),
    ],
)
def test_settings_are_checked(settings, place):
    with pytest.raises(ValidationError) as caught:
        MultiCrop.Config(**{"crops": CROPS, **settings})
    assert caught.value.errors()[0]["loc"] == place


def test_a_wrong_number_of_means_is_told():
    with pytest.raises(RecipeError, match=r"mean: has 3 values, but the images have 1 channels"):
        MultiCrop.Config(crops=CROPS, mean=[0.1, 0.2, 0.3]).build(channels=1, mean=(0.5,), std=(0.2,))


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


def count_operations(views, batch):
    views(batch, 0)  # fills the tables kept on the device
    with Operations() as seen:
        views(batch, 1)
    return seen.names


def test_no_operator_waits_for_the_host():
    names = count_operations(make(blur=0.5, solarize=0.5, rotation=10.0), images())
    assert not {"_local_scalar_dense", "nonzero", "masked_select", "lift_fresh"} & set(names)
    assert len(names) > 100


def test_steps_that_are_off_cost_nothing():
    full, plain = count_operations(make(), images()), count_operations(make(**PLAIN), images())
    grey_digits = count_operations(make(1), images(channels=1))
    assert len(plain) < 0.55 * len(full)
    assert len(grey_digits) < 0.75 * len(full)
    assert "remainder" not in plain
    assert "floor_" not in grey_digits  # no hue


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_draws_the_same_and_never_waits():
    views, batch = make(blur=0.5, solarize=0.5, rotation=10.0), images(64)
    expected, on_device = views(batch, 3), batch.cuda()
    views(on_device, 3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = views(on_device, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for a, b in zip(expected, found, strict=True):
        assert torch.isclose(a, b.cpu(), atol=0.05).float().mean() > 0.99
