"""RandAugment's operations against Pillow, each at several strengths; how they are shared out."""

import math
from itertools import accumulate

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms.v2 import functional as reference

from imcswav.augment.draws import uniform
from imcswav.augment.levels import AUTOCONTRAST, POSTERIZE, SOLARIZE, equalize, levels
from imcswav.augment.randaugment import (
    COUNT,
    OPERATION_DRAWS,
    SHARES,
    amounts,
    apply,
    one_each,
    rand_augment,
    share_sizes,
)
from imcswav.augment.sharpness import sharpen
from imcswav.augment.warp import ROTATE, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y, warp

SIDE = 20
FILL = (120.0, 37.0, 201.0)
SIGNED = (-1.0, -0.73, -0.4, -0.06, 0.0, 0.1, 0.33, 0.58, 0.9, 1.0)
STRENGTHS = (0.0, 0.1, 0.25, 0.4, 0.5, 0.62, 0.75, 0.9, 1.0)
BILINEAR = Image.Resampling.BILINEAR


def samples(count, channels=3, side=SIDE):
    """Whole numbers (C, M, Q): noise, ramps of few values, a dark image, one of a single value."""
    generator = torch.Generator().manual_seed(0)
    planes = torch.randint(0, 256, (channels, count, side * side), generator=generator).float()
    planes[:, 1::4] = (torch.arange(side * side) % 11 * 23).float()
    planes[:, 2::4] = (planes[:, 2::4] / 4).floor() + 30
    planes[:, 3::8] = 93.0
    return planes


def picture(planes, sample):
    side = math.isqrt(planes.shape[-1])
    array = planes[:, sample].reshape(-1, side, side).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array if array.shape[-1] == 3 else array[..., 0])


def error(found, sample, image):
    """Greatest difference to a Pillow image in 8-bit levels."""
    expected = torch.from_numpy(np.array(image)).view(SIDE * SIDE, -1).T
    return (found[:, sample] - expected).abs().max().item()


def pillow_warp(image, kind, amount):
    fill = tuple(map(int, FILL)) if image.mode == "RGB" else int(FILL[0])
    if kind == ROTATE:
        return image.rotate(30 * amount, BILINEAR, fillcolor=fill)
    shear, shift = 0.3 * amount, -round(150 / 331 * SIDE * amount)
    matrix = {
        SHEAR_X: (1, shear, 0, 0, 1, 0),
        SHEAR_Y: (1, 0, 0, shear, 1, 0),
        TRANSLATE_X: (1, 0, shift, 0, 1, 0),
        TRANSLATE_Y: (1, 0, 0, 0, 1, shift),
    }[kind]
    return image.transform(image.size, Image.Transform.AFFINE, matrix, BILINEAR, fillcolor=fill)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [ROTATE, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y])
def test_warps_are_within_a_level_of_pillow(kind, channels):
    planes, amounts = samples(len(SIGNED), channels), torch.tensor(SIGNED)
    found = warp(planes, torch.full((len(SIGNED),), kind), amounts, FILL[:channels])
    assert torch.equal(found, found.round())
    for sample, amount in enumerate(SIGNED):
        assert error(found, sample, pillow_warp(picture(planes, sample), kind, amount)) <= 1


def test_each_sample_has_its_own_warp():
    planes, kinds, amounts = samples(10), torch.arange(10) % 5, torch.linspace(0.2, 0.9, 10)
    found = warp(planes, kinds, amounts, FILL)
    for sample in range(10):
        only = slice(sample, sample + 1)
        torch.testing.assert_close(found[:, only], warp(planes[:, only], kinds[only], amounts[only], FILL))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("place", [0, 1, 2], ids=["brightness", "contrast", "saturation"])
def test_blends_are_within_two_levels_of_pillow(place, channels):
    planes, amounts = samples(len(SIGNED), channels), torch.tensor(SIGNED)
    found = one_operation("blend", planes.clone(), place, amounts)
    enhancer = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color][place]
    for sample, amount in enumerate(SIGNED):
        expected = enhancer(picture(planes, sample)).enhance(1 + 0.9 * amount)
        # Pillow rounds the grey reference, which counts up to 0.9-fold, and cuts the result off
        assert error(found, sample, expected) <= 2


def one_operation(name, planes, place, amounts):
    places = torch.full((planes.shape[1],), (place + 0.5) / SHARES[name])
    return apply(name, planes, places, amounts, FILL[: len(planes)])


@pytest.mark.parametrize("channels", [1, 3])
def test_sharpness_is_within_a_level_of_pillow(channels):
    planes, amounts = samples(len(SIGNED), channels), torch.tensor(SIGNED)
    found = one_operation("sharpness", planes.clone(), 0, amounts)
    for sample, amount in enumerate(SIGNED):
        expected = ImageEnhance.Sharpness(picture(planes, sample)).enhance(1 + 0.9 * amount)
        assert error(found, sample, expected) <= 1


@pytest.mark.parametrize("side", [1, 2, 3])
def test_sharpness_of_images_without_an_inside_or_of_one_pixel(side):
    planes = samples(4, side=side)
    found = sharpen(planes.clone(), torch.full((4,), 1.5))
    assert torch.equal(found, planes) == (side < 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [AUTOCONTRAST, SOLARIZE, POSTERIZE])
def test_levels_are_pillows(kind, channels):
    planes, strengths = samples(len(STRENGTHS), channels), torch.tensor(STRENGTHS)
    found = levels(planes, torch.full((len(STRENGTHS),), kind), strengths)
    for sample, strength in enumerate(STRENGTHS):
        image = picture(planes, sample)
        if kind == AUTOCONTRAST:
            expected, tolerance = ImageOps.autocontrast(image), 1  # Pillow cuts off, this rounds
        elif kind == SOLARIZE:
            expected, tolerance = ImageOps.solarize(image, 256 * (1 - strength)), 0
        else:
            expected, tolerance = ImageOps.posterize(image, 8 - round(4 * strength)), 0
        assert error(found, sample, expected) <= tolerance


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [10, SIDE, 40])  # fewer pixels than levels, a coarse step, a finer one
def test_equalize_is_pillows_to_the_pixel(side, channels):
    planes = samples(9, channels, side)
    found = equalize(planes)
    for sample in range(9):
        expected = torch.from_numpy(np.array(ImageOps.equalize(picture(planes, sample))))
        assert torch.equal(found[:, sample], expected.reshape(side * side, -1).T.float())
    assert torch.equal(found, planes) == (side == 10)


def test_the_same_as_torchvision_on_tensors():
    planes = samples(8)
    found = {
        "equalize": equalize(planes),
        "autocontrast": levels(planes, torch.full((8,), AUTOCONTRAST), torch.zeros(8)),
        "posterize": levels(planes, torch.full((8,), POSTERIZE), torch.full((8,), 0.5)),
        "adjust_sharpness": one_operation("sharpness", planes.clone(), 0, torch.full((8,), -0.5)),
    }
    settings = {"posterize": [6], "adjust_sharpness": [1 - 0.9 * 0.5]}
    for name, ours in found.items():
        images = planes.view(3, 8, SIDE, SIDE).transpose(0, 1).byte()
        expected = getattr(reference, name)(images, *settings.get(name, []))
        assert (ours - expected.transpose(0, 1).flatten(2)).abs().max() <= 1


def draws(count, operations=1, seed=0):
    u_JM = uniform(seed, 0, torch.arange(count), 1, operations * OPERATION_DRAWS).flatten(1)
    return u_JM.unflatten(0, (operations, OPERATION_DRAWS))


def starts(count):
    return dict(zip(SHARES, accumulate(share_sizes(count), initial=0), strict=False))


def test_each_share_has_its_own_operations():
    planes, (_, places, u) = samples(56), draws(56)[0]
    found = one_each(planes.clone(), places, amounts(u, (0.0, 1.0)), FILL)
    for (name, start), size in zip(starts(56).items(), share_sizes(56), strict=True):
        for sample in range(start, start + size):
            only = slice(sample, sample + 1)
            alone = apply(name, planes[:, only].clone(), places[only], amounts(u[only], (0.0, 1.0)), FILL)
            torch.testing.assert_close(found[:, only], alone)


def test_samples_come_back_in_their_places():
    values = torch.arange(50.0)[None, :, None].expand(3, 50, 16).clone()
    # at no strength, images of one value go through everything as they are
    assert torch.equal(rand_augment(values, draws(50, 5), (0.0, 0.0), FILL), values)


def test_operations_follow_one_another():
    planes, u_KJM = samples(70), draws(70, 2)
    first = rand_augment(planes, u_KJM[:1], (0.2, 0.9), FILL)
    # the second permutation is one of the places that the first has left the samples in
    there = u_KJM[0, 0].argsort(stable=True)
    again = rand_augment(first[:, there], u_KJM[1:], (0.2, 0.9), FILL)
    assert torch.equal(rand_augment(planes, u_KJM, (0.2, 0.9), FILL)[:, there], again)


@pytest.mark.parametrize("count", [1, 4, 13, 14, 256, 1000])
def test_shares_are_kept_to_a_sample(count):
    sizes = share_sizes(count)
    assert sum(sizes) == count
    for size, share in zip(sizes, SHARES.values(), strict=True):
        assert abs(size - share * count / COUNT) <= 1


@pytest.mark.parametrize("turn", [0, 1])
def test_a_sample_has_every_operation_with_equal_chances(turn):
    seen = torch.zeros(COUNT)
    kinds = [name for name, size in zip(SHARES, share_sizes(28), strict=True) for _ in range(size)]
    first = dict(zip(SHARES, accumulate(SHARES.values(), initial=0), strict=False))
    for seed in range(600):
        u_KJM, sample = draws(28, 2, seed), torch.arange(28)
        for key_M in u_KJM[: turn + 1, 0]:
            sample = sample[key_M.argsort(stable=True)]
        place = int((sample == 5).nonzero())
        seen[first[kinds[place]] + int(u_KJM[turn, 1, place] * SHARES[kinds[place]])] += 1
    assert ((seen - 600 / 14) ** 2 / (600 / 14)).sum() < 34.5  # chi-square, 13 degrees of freedom, p = 0.001


def test_strengths_are_within_the_magnitude_on_both_sides():
    found = amounts(draws(4000)[0, 2], (0.3, 0.8))
    assert found.abs().min() >= 0.3
    assert found.abs().max() <= 0.8
    assert abs(found.abs().mean() - 0.55) < 0.01
    assert abs((found > 0).float().mean() - 0.5) < 0.03
    assert torch.equal(amounts(draws(50)[0, 2], (0.7, 0.7)).abs(), torch.full((50,), 0.7))
