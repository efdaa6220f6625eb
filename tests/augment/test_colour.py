"""Colour operations against torchvision and Pillow with the same factors; the statistics of their draws."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms.v2 import functional as reference

from imcswav.augment.colour import (
    BRIGHTNESS,
    CONTRAST,
    JITTER_DRAWS,
    SATURATION,
    Jitter,
    blend,
    draw_jitter,
    hue_slots,
    jitter,
    shift_hue,
    solarize,
    to_grey,
)
from imcswav.augment.draws import uniform

SIDE, COUNT = 12, 24
ADJUST = [reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation]


def samples(channels=3, count=COUNT, seed=0):
    generator = torch.Generator().manual_seed(seed)
    planes = torch.randint(0, 256, (channels, count, SIDE * SIDE), generator=generator).float()
    planes[:, 0] = 93.0  # without any colour or contrast
    if channels == 3:  # the corners of the colour cube, where sextants meet
        planes[:, 1, :8] = torch.cartesian_prod(*[torch.tensor([0.0, 255.0])] * 3).T
    return planes


def picture(planes, sample):
    """One sample as torchvision wants it: float (C, S, S) in [0, 1]."""
    return planes[:, sample].reshape(-1, SIDE, SIDE) / 255


def close(found, sample, expected, levels=0.05):
    assert (picture(found, sample) - expected).abs().max() * 255 < levels


@pytest.mark.parametrize("kind", [BRIGHTNESS, CONTRAST, SATURATION])
def test_blends_match_torchvision(kind):
    planes, factors = samples(), torch.full((3, COUNT), float("nan"))
    factors[kind] = torch.linspace(0, 2, COUNT)
    found = blend(planes.clone(), torch.full((COUNT,), kind), factors)
    for sample in range(COUNT):
        expected = ADJUST[kind](picture(planes, sample), factors[kind, sample].item())
        close(found, sample, expected)


def test_hue_matches_torchvision():
    planes, shifts = samples(), torch.linspace(-0.5, 0.5, COUNT)
    found = shift_hue(planes, shifts)
    for sample in range(COUNT):
        close(found, sample, reference.adjust_hue(picture(planes, sample), shifts[sample].item()))


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation", "hue"])
def test_close_to_pillow(kind):
    planes = samples()
    strength = 0.07 if kind == "hue" else 1.3
    factors = torch.full((3, COUNT), strength)
    if kind == "hue":
        found = shift_hue(planes, torch.full((COUNT,), strength))
    else:
        code = ["brightness", "contrast", "saturation"].index(kind)
        found = blend(planes.clone(), torch.full((COUNT,), code), factors)
    errors = []
    for sample in range(COUNT):
        image = Image.fromarray((picture(planes, sample) * 255).byte().permute(1, 2, 0).numpy())
        theirs = np.asarray(getattr(reference, f"adjust_{kind}")(image, strength)).astype(float)
        errors.append(np.abs((picture(found, sample) * 255).permute(1, 2, 0).numpy() - theirs))
    # Pillow keeps hue, saturation and every intermediate result in 8 bits
    limit, mean = (15, 1.6) if kind == "hue" else (1.7, 0.7)
    assert np.max(errors) < limit
    assert np.mean(errors) < mean


def test_each_sample_has_its_own_order():
    planes = samples()
    generator = torch.Generator().manual_seed(1)
    orders = torch.stack([torch.randperm(3, generator=generator) for _ in range(COUNT)], 1)
    factors, shift = torch.rand(3, COUNT, generator=generator) + 0.5, torch.rand(COUNT, generator=generator) - 0.5
    slots = torch.randperm(COUNT, generator=generator).chunk(4)
    found = jitter(planes.clone(), Jitter(factors, orders, shift, slots))
    for sample in range(COUNT):
        expected = picture(planes, sample)
        hue_place = next(place for place, slot in enumerate(slots) if sample in slot)
        for place in range(4):
            if place == hue_place:
                expected = reference.adjust_hue(expected, shift[sample].item())
            if place < 3:
                kind = orders[place, sample].item()
                expected = ADJUST[kind](expected, factors[kind, sample].item())
        close(found, sample, expected, levels=0.2)


def test_greyscale_and_solarize_only_where_on():
    planes, on = samples(), torch.arange(COUNT) % 2 == 0
    grey, inverted = to_grey(planes.clone(), on), solarize(planes, on)
    for sample in range(COUNT):
        image = picture(planes, sample)
        close(grey, sample, reference.rgb_to_grayscale(image, 3) if on[sample] else image)
        # a threshold just under 128, since 128 / 255 is no float
        close(inverted, sample, reference.solarize(image, 127.5 / 255) if on[sample] else image)


@pytest.mark.parametrize("channels", [1, 5])
def test_contrast_without_colours_is_about_the_mean(channels):
    planes, factors = samples(channels), torch.full((3, COUNT), 0.5)
    found = blend(planes.clone(), torch.full((COUNT,), CONTRAST), factors)
    expected = (planes + planes.mean((0, 2), keepdim=True)) / 2
    torch.testing.assert_close(found, expected)


def draws(p=0.8, strengths=(0.4, 0.3, 1.5), hue=0.1, batch=4000, views=2):
    u = uniform(1, 0, torch.arange(batch), views, JITTER_DRAWS)
    return draw_jitter(u, torch.tensor(0.6), strengths, hue, p)


def test_factors_are_uniform_about_one_and_off_in_a_fifth():
    drawn = draws()
    on = drawn.shift != 0
    assert abs(on.float().mean() - 0.8) < 0.02
    assert (drawn.factors[:, ~on] == 1).all()
    for factors, (low, high) in zip(drawn.factors, [(0.6, 1.4), (0.7, 1.3), (0, 2.5)], strict=True):
        assert stats.kstest(factors[on].numpy(), "uniform", (low, high - low)).pvalue > 1e-3
    assert stats.kstest(drawn.shift[on].numpy(), "uniform", (-0.1, 0.2)).pvalue > 1e-3


def full_order(drawn):
    """Where each sample's hue comes, and the order of its blends, as one number below 24."""
    place = torch.empty(drawn.shift.shape, dtype=torch.long)
    for number, slot in enumerate(drawn.hue_slots):
        place[slot] = number
    blends = (drawn.order * torch.tensor([[9], [3], [1]])).sum(0)
    return place * 27 + blends


def test_every_order_is_equally_likely():
    counts = torch.unique(full_order(draws()), return_counts=True)[1]
    assert len(counts) == math.factorial(4)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("strengths", "orders"), [((0.4, 0.4, 0.0), 2), ((0.0, 0.4, 0.0), 1), ((0, 0, 0), 1)])
def test_steps_without_strength_are_left_out(strengths, orders):
    drawn = draws(strengths=strengths)
    active = sum(s > 0 for s in strengths)
    assert len(drawn.order) == active
    assert len(drawn.hue_slots) == active + 1
    assert len(set(map(tuple, drawn.order.T.tolist()))) == orders
    assert draws(hue=0).hue_slots == ()


@pytest.mark.parametrize(("batch", "views"), [(8, 2), (256, 4), (7, 3), (1, 1), (2, 5)])
@pytest.mark.parametrize("turn", [0.0, 0.3, 0.6, 0.99])
def test_hue_slots_hold_each_sample_once(batch, views, turn):
    slots = hue_slots(batch, views, 4, torch.tensor(turn))
    assert sorted(torch.cat(slots).tolist()) == list(range(batch * views))
    if batch % 4 == 0:
        assert {len(slot) for slot in slots} == {batch * views // 4}


def test_every_view_meets_every_hue_slot_as_the_turn_goes_round():
    met = {}
    for turn in (0.1, 0.3, 0.6, 0.8):
        for number, slot in enumerate(hue_slots(8, 2, 4, torch.tensor(turn))):
            for sample in slot.tolist():
                met.setdefault(sample, set()).add(number)
    assert all(places == {0, 1, 2, 3} for places in met.values())


def test_ranks_split_the_batch_as_one_process_does():
    together = set(hue_slots(16, 2, 4, torch.tensor(0.3))[1].tolist())
    apart = set()
    for rank in range(2):
        for sample in hue_slots(8, 2, 4, torch.tensor(0.3))[1].tolist():
            image, view = divmod(sample, 2)
            apart.add((image * 2 + rank) * 2 + view)
    assert apart == together
