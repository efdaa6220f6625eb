"""Cutout against a loop over images, and where its squares fall."""

import pytest
import torch

from imcswav.augment.cutout import CUTOUT_DRAWS, cutout
from imcswav.augment.draws import uniform


def draws(batch, views):
    return uniform(1, 0, torch.arange(batch), views, CUTOUT_DRAWS)


@pytest.mark.parametrize(("size", "share", "length"), [(16, 0.5, 8), (9, 0.33, 3), (8, 1.0, 8), (12, 0.01, 0)])
def test_squares_are_the_loops(size, share, length):
    u_JBv = draws(20, 3)
    found = cutout(torch.ones(3, 20, 2, size, size), u_JBv, share)
    for view in range(3):
        for image in range(20):
            row, column = (int(u_JBv[axis, image, view] * size) - length // 2 for axis in (0, 1))
            expected = torch.ones(2, size, size)
            expected[:, max(row, 0) : max(row + length, 0), max(column, 0) : max(column + length, 0)] = 0
            assert torch.equal(found[view, image], expected)


def test_every_pixel_is_as_often_a_centre():
    found = cutout(torch.ones(1, 4000, 1, 4, 4), draws(4000, 1), 0.25)
    hidden = (1 - found).sum((0, 1, 2))
    assert hidden.sum() == 4000
    assert ((hidden - 250) ** 2 / 250).sum() < 37.7  # chi-square, 15 degrees of freedom, p = 0.001
