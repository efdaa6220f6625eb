"""The contract all data sets share: measuring, batches and seeds."""

import itertools

import numpy as np
import pytest
import torch

from imcswav.data import Data, Split
from imcswav.seeding import mix


class Numbered(Data, name="numbered_for_tests"):
    """Image i is filled with i, so that a batch shows what it was taken from."""

    def __init__(self, config: Data.Config, *, count: int) -> None:
        super().__init__(config)
        values = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
        self.train = Split(values.expand(-1, 3, 4, 4).contiguous(), [str(i) for i in range(count)])


def order(data: Data, epoch: int = 0, **settings: int) -> list[int]:
    settings = {"seed": 1, "batch_size": 16, **settings}
    return [index for batch in data.batches(epoch, **settings) for index in batch.index.tolist()]


@pytest.fixture
def data() -> Data:
    return Numbered.create(count=100)


def test_an_epoch_shows_each_image_at_most_once_and_drops_the_partial_batch(data: Data) -> None:
    batches = list(data.batches(0, seed=1, batch_size=16))
    assert [len(batch.index) for batch in batches] == [16] * 6
    seen = order(data)
    assert len(set(seen)) == 96
    assert set(seen) <= set(range(100))


def test_images_are_those_of_the_index(data: Data) -> None:
    for batch in data.batches(3, seed=1, batch_size=16):
        assert batch.images.shape == (16, 3, 4, 4)
        assert torch.equal(batch.images[:, 0, 0, 0].long(), batch.index)


def test_order_depends_on_epoch_and_seed_alone(data: Data) -> None:
    orders = [order(data, epoch, seed=seed) for epoch, seed in itertools.product(range(3), range(3))]
    assert all(a != b for a, b in itertools.combinations(orders, 2))
    torch.manual_seed(9)
    assert order(data, 2, seed=2) == orders[-1]


def test_drawing_leaves_the_global_generator_alone(data: Data) -> None:
    before = torch.get_rng_state()
    order(data)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("start", range(8))
def test_start_resumes_within_the_epoch(data: Data, start: int) -> None:
    assert order(data, 5, start=start) == order(data, 5)[start * 16 :]


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_partition_every_global_batch(data: Data, world: int) -> None:
    whole = list(data.batches(0, seed=1, batch_size=16))
    shares = [list(data.batches(0, seed=1, batch_size=16, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(whole):
        parts = [share[step].index.tolist() for share in shares]
        assert sorted(itertools.chain(*parts)) == sorted(batch.index.tolist())
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_fewer_images_than_a_batch_give_none(data: Data) -> None:
    assert order(data, batch_size=101) == []
    assert len(order(data, batch_size=100)) == 100


def test_measure_agrees_with_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2500, 3, 4, 4), dtype=np.uint8)
    images[:, 2] = 51  # a constant channel must not lead to a division by 0
    data = Numbered.create(count=10)
    data.train = Split(torch.from_numpy(images), [""] * 2500)
    data.measure()
    values = images / 255
    assert np.allclose(data.mean, values.mean((0, 2, 3)), rtol=0, atol=1e-12)
    assert np.allclose(data.std, [*values.std((0, 2, 3))[:2], 1e-3], rtol=0, atol=1e-10)


def test_mix_gives_unrelated_seeds_in_range() -> None:
    seeds = [mix(seed, epoch, step) for seed in range(10) for epoch in range(10) for step in range(10)]
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**63 for seed in [*seeds, mix(2**63 - 1, 0), mix(0, 2**40)])
    flipped = [bin(a ^ b).count("1") for a, b in itertools.pairwise(seeds)]
    assert 28 < sum(flipped) / len(flipped) < 35  # half of 63 bits, on average
    assert mix(1, 2, 3) != mix(1, 3, 2)
    assert mix(1, 2) != mix(2, 1)
