"""Softmax codes against the definition."""

import math

import pytest
import torch

from imcswav.solvers.softmax import Softmax


def test_codes_are_the_definition() -> None:
    scores_GBP = torch.rand(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    codes_GBP = Softmax.create(temperature=0.3)(scores_GBP)
    for g, b, p in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(4)).tolist():
        total = sum(math.exp(u / 0.3) for u in scores_GBP[g, b].tolist())
        assert codes_GBP[g, b, p].item() == pytest.approx(math.exp(scores_GBP[g, b, p].item() / 0.3) / total)


def test_huge_scores_stay_finite_and_half_is_promoted() -> None:
    codes_GBP = Softmax.create()(torch.tensor([[[6e4, 0.0, -6e4]]], dtype=torch.float16))
    assert codes_GBP.dtype == torch.float32
    assert codes_GBP.tolist() == [[[1.0, 0.0, 0.0]]]
