"""Blur and rotation against torchvision."""

import math

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from imcswav.augment.blur import blur, blur_weights
from imcswav.augment.rotate import rotate


@pytest.mark.parametrize("longest", [0.7, 2.0])
def test_blur_matches_torchvision(longest):
    size, count = 16, 5
    planes = torch.rand(3, count, size * size, generator=torch.Generator().manual_seed(0)) * 255
    sigma, on = torch.linspace(0.2, longest, count), torch.tensor([True, True, True, False, True])
    found = blur(planes, blur_weights(sigma, on, size, longest)).view(3, count, size, size)
    kernel = 2 * math.ceil(3 * longest) + 1
    for sample in range(count):
        image = planes[:, sample].view(3, size, size)
        expected = reference.gaussian_blur(image, [kernel, kernel], [sigma[sample].item()]) if on[sample] else image
        torch.testing.assert_close(found[:, sample], expected, atol=0.01, rtol=0)


def test_blur_wider_than_the_crop_keeps_the_mean_level():
    weights = blur_weights(torch.tensor([5.0]), torch.tensor([True]), 4, 5.0)
    torch.testing.assert_close(blur(torch.full((1, 1, 16), 80.0), weights), torch.full((1, 1, 16), 80.0))


@pytest.mark.parametrize(("height", "width"), [(25, 25), (20, 31)])
def test_rotation_matches_torchvision_inside(height, width):
    images = torch.randint(0, 256, (3, 3, height, width), generator=torch.Generator().manual_seed(0)).float()
    degrees = [20.0, -75.0, 180.0]
    found = rotate(images, torch.tensor(degrees))
    down, right = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = (down - height / 2 + 0.5) ** 2 + (right - width / 2 + 0.5) ** 2 < (min(height, width) / 2 - 1) ** 2
    for image, angle, ours in zip(images, degrees, found, strict=True):
        expected = reference.rotate(image, angle, InterpolationMode.BILINEAR)
        assert ((ours - expected).abs() * inside).max() < 0.05
    assert found.min() >= 0


def test_rotation_shows_the_mirrored_image_beyond_the_border():
    assert (rotate(torch.full((1, 1, 9, 9), 200.0), torch.tensor([45.0])) - 200).abs().max() < 1e-3
