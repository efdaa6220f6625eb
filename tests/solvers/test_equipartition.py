"""Balanced hard codes against a search over all of them."""

from itertools import product

import pytest
import torch

from imcswav.solvers.equipartition import Equipartition


def best_total(scores_BP: torch.Tensor) -> float:
    """The largest total score among all assignments whose loads differ by at most one."""
    images, prototypes = scores_BP.shape
    totals = []
    for chosen in product(range(prototypes), repeat=images):
        loads = [chosen.count(p) for p in range(prototypes)]
        if max(loads) - min(loads) <= 1:
            totals.append(sum(scores_BP[i, p].item() for i, p in enumerate(chosen)))
    return max(totals)


@pytest.mark.parametrize(("images", "prototypes"), [(6, 3), (7, 3), (5, 2), (3, 4), (4, 4), (1, 3)])
def test_balanced_and_best(images: int, prototypes: int) -> None:
    scores_GBP = torch.rand(2, images, prototypes, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    scores_GBP[..., 0] += 1  # every image would rather have prototype 0
    codes_GBP = Equipartition.create()(scores_GBP)
    assert set(codes_GBP.unique().tolist()) <= {0.0, 1.0}
    assert (codes_GBP.sum(2) == 1).all()
    loads_GP = codes_GBP.sum(1)
    assert (loads_GP.amax(1) - loads_GP.amin(1) <= 1).all()
    for codes_BP, scores_BP in zip(codes_GBP, scores_GBP, strict=True):
        assert (codes_BP * scores_BP).sum().item() == pytest.approx(best_total(scores_BP), rel=1e-12)


@pytest.mark.parametrize(("images", "prototypes"), [(64, 10), (60, 7), (20, 50)])
def test_loads_at_larger_sizes(images: int, prototypes: int) -> None:
    codes_1BP = Equipartition.create()(torch.randn(1, images, prototypes))
    loads_P = codes_1BP[0].sum(0)
    assert loads_P.sum() == images
    assert loads_P.max() - loads_P.min() <= 1


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_scores_that_are_not_finite_have_codes_of_nan(value: float) -> None:
    scores = torch.zeros(2, 4, 2)
    scores[1, 2, 0] = value
    codes = Equipartition.create()(scores.bfloat16())
    assert codes.isnan().all()
    assert codes.dtype == torch.float32


def test_precision() -> None:
    assert Equipartition.create()(torch.zeros(1, 4, 2, dtype=torch.bfloat16)).dtype == torch.float32
    assert Equipartition.create()(torch.zeros(1, 4, 2, dtype=torch.float64)).dtype == torch.float64
