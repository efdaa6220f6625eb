"""The counter-based generator: uniform, independent, keyed by what it says."""

import pytest
import torch
from scipy import stats

from imcswav.augment.draws import uniform


def draw(seed=7, stream=0, positions=64, views=2, count=5):
    return uniform(seed, stream, torch.arange(positions), views, count)


def test_shape_range_and_determinism():
    u = draw()
    assert u.shape == (5, 64, 2)
    assert u.dtype == torch.float32
    assert u.min() >= 0
    assert u.max() < 1
    assert torch.equal(u, draw())
    assert torch.equal(u, draw(seed=torch.tensor(7)))


def test_every_key_counts():
    u = draw()
    for other in (draw(seed=8), draw(seed=7 + 2**32), draw(stream=1), u.roll(1, 0), u.roll(1, 1), u.roll(1, 2)):
        assert (u == other).float().mean() < 0.01


def test_a_position_keeps_its_numbers_in_any_batch():
    u = draw()
    assert torch.equal(uniform(7, 0, torch.arange(10), 2, 5), u[:, :10])
    assert torch.equal(uniform(7, 0, torch.arange(1, 64, 2), 2, 5), u[:, 1::2])


@pytest.mark.parametrize("seed", [0, 1, 2**62 + 1])
def test_uniform(seed):
    u = draw(seed=seed, positions=20_000, views=1, count=4)
    for numbers in u.flatten(1):
        assert stats.kstest(numbers.numpy(), "uniform").pvalue > 1e-4


def test_columns_neighbours_and_seeds_are_uncorrelated():
    u = draw(positions=20_000, views=2, count=4).permute(1, 0, 2).flatten(1)
    next_seed = draw(seed=8, positions=20_000, views=2, count=4).permute(1, 0, 2).flatten(1)
    together = torch.cat([u[:-1], u[1:], next_seed[:-1]], 1)
    correlation = torch.corrcoef(together.T) - torch.eye(24)
    assert correlation.abs().max() < 0.035  # five standard errors


def test_neighbouring_seeds_flip_half_of_the_bits():
    bits = [(draw(seed=s, positions=500) * 2**24).long() for s in (4, 5)]
    flipped = ((bits[0] ^ bits[1])[..., None] >> torch.arange(24)) & 1
    assert flipped.float().mean((0, 1, 2)).sub(0.5).abs().max() < 0.04
