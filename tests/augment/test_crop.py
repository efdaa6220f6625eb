"""Resized crops against Pillow, and the boxes' distribution against torchvision's."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from imcswav.augment.crop import CROP_DRAWS, TRIES, Boxes, draw_boxes, resized_crop
from imcswav.augment.draws import uniform

RATIO = (3 / 4, 4 / 3)


def random_boxes(batch, views, height, width, seed):
    generator = torch.Generator().manual_seed(seed)

    def below(high):
        return (torch.rand(batch, views, generator=generator) * high).long()

    h, w = 1 + below(height), 1 + below(width)
    return Boxes(below(height - h + 1), below(width - w + 1), h, w, below(2) == 1)


def pillow(image, boxes, sample, size):
    top, left, height, width, flip = (
        getattr(boxes, name)[sample].item() for name in ("top", "left", "height", "width", "flip")
    )
    picture = Image.fromarray(image.permute(1, 2, 0).numpy().squeeze())
    if flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = picture.crop((left, top, left + width, top + height))
    return np.atleast_3d(np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))).astype(int)


@pytest.mark.parametrize(("channels", "height", "width", "size"), [(3, 32, 32, 18), (3, 24, 40, 28), (1, 16, 16, 24)])
def test_within_one_level_of_pillow(channels, height, width, size):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, channels, height, width), dtype=torch.uint8, generator=generator)
    boxes = random_boxes(40, 3, height, width, seed=1)
    crops = resized_crop(images, boxes, size).view(channels, 40, 3, size, size)
    errors = []
    for sample in np.ndindex(40, 3):
        ours = crops[:, *sample].permute(1, 2, 0).numpy()
        errors.append(np.abs(ours - pillow(images[sample[0]], boxes, sample, size)))
    errors = np.stack(errors)
    assert errors.max() <= 1
    assert (errors == 0).mean() > 0.8  # what is left is Pillow's rounding between its two passes


def test_whole_image_at_its_own_size_is_itself():
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    zero, full = torch.zeros(4, 1, dtype=torch.long), torch.full((4, 1), 16)
    planes = resized_crop(images, Boxes(zero, zero, full, full, zero == 1), 16)
    assert torch.equal(planes.view(3, 4, 16, 16).transpose(0, 1).byte(), images)


@pytest.mark.parametrize(
    ("size", "scale", "ratio"),
    [
        ((32, 32), (0.2, 1.0), RATIO),
        ((32, 32), (0.08, 0.4), RATIO),
        ((24, 60), (0.7, 1.0), RATIO),  # hardly ever fits: the central fallback, too wide
        ((60, 24), (0.7, 1.0), RATIO),  # … too high
        ((20, 20), (0.9, 1.0), (0.5, 0.6)),  # never fits
    ],
)
def test_distribution_of_boxes(size, scale, ratio):
    count = 3000
    u = uniform(3, 0, torch.arange(count), 1, CROP_DRAWS)
    boxes = draw_boxes(u, size, scale, ratio, 0.5)
    ours = torch.stack([boxes.top, boxes.left, boxes.height, boxes.width])[:, :, 0].numpy()
    torch.manual_seed(0)
    image = torch.empty(1, *size)
    theirs = np.array([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(count)]).T
    assert (ours[0] + ours[2] <= size[0]).all()
    assert (ours[1] + ours[3] <= size[1]).all()
    for mine, reference in zip([*ours, ours[2] * ours[3]], [*theirs, theirs[2] * theirs[3]], strict=True):
        assert stats.ks_2samp(mine, reference).pvalue > 1e-3
    assert abs(boxes.flip.float().mean() - 0.5) < 0.04


def test_the_first_box_that_fits_is_taken():
    u = torch.zeros(CROP_DRAWS, 1, 1)
    u[:TRIES] = 1  # the whole area
    u[TRIES : 2 * TRIES] = 0.0  # and high: does not fit
    u[3], u[TRIES + 3] = 0.25, 0.5  # a quarter (float: scale 0 to 1), square
    u[6], u[TRIES + 6] = 0.5, 0.5
    boxes = draw_boxes(u, (32, 32), (0.0, 1.0), (0.5, 2.0), 0.0)
    assert (boxes.height.item(), boxes.width.item()) == (16, 16)


def test_every_place_is_equally_likely():
    u = uniform(0, 0, torch.arange(6000), 1, CROP_DRAWS)
    boxes = draw_boxes(u, (4, 5), (0.2, 0.2), (1.0, 1.0), 0.0)  # two by two pixels
    places = torch.bincount((boxes.top * 4 + boxes.left).flatten(), minlength=12)
    assert len(places) == 12
    assert stats.chisquare(places.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("flip", "expected"), [(0.0, 0.0), (1.0, 1.0), (0.2, 0.2)])
def test_flip_rate(flip, expected):
    u = uniform(0, 0, torch.arange(5000), 1, CROP_DRAWS)
    rate = draw_boxes(u, (8, 8), (0.5, 1.0), RATIO, flip).flip.float().mean()
    assert abs(rate - expected) <= (0.03 if 0 < flip < 1 else 0)


def test_results_do_not_depend_on_the_default_dtype():
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    boxes = random_boxes(4, 2, 16, 16, seed=0)
    expected = resized_crop(images, boxes, 8)
    torch.set_default_dtype(torch.float64)
    try:
        found = resized_crop(images, boxes, 8)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
