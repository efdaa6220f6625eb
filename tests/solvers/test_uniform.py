"""Uniform codes."""

import torch

from imcswav.solvers.uniform import Uniform


def test_every_entry_is_one_over_p() -> None:
    codes_GBP = Uniform.create()(torch.randn(2, 3, 8, dtype=torch.bfloat16))
    assert codes_GBP.dtype == torch.float32
    assert torch.equal(codes_GBP, torch.full((2, 3, 8), 0.125))
    assert Uniform.create()(torch.randn(1, 2, 4).double()).dtype == torch.float64
