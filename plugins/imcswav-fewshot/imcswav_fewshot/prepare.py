"""What is done to features before they are clustered; E sets of rows at a time."""

from __future__ import annotations

import torch
from torch import Tensor


def centred_unit(x_NF: Tensor, mean_F: Tensor | None) -> Tensor:
    """Rows minus a mean, scaled to length 1 ("CL2N", Wang et al. 2019, SimpleShot); a row of zeros stays."""
    x_NF = x_NF if mean_F is None else x_NF - mean_F
    lengths_N1: Tensor = torch.linalg.vector_norm(x_NF, dim=-1, keepdim=True)
    return x_NF / lengths_N1.clamp_min(1e-12)


def shift(x_ENF: Tensor, known_EN: Tensor) -> Tensor:
    """Mean of the rows with a label (``known`` ≥ 0) minus the mean of the others, (E, 1, F); 0 where either is none."""
    given_EN1 = (known_EN >= 0).to(x_ENF.dtype).unsqueeze(-1)
    count_E11 = given_EN1.sum(1, keepdim=True)
    others_E11 = x_ENF.shape[1] - count_E11
    given_E1F = (given_EN1 * x_ENF).sum(1, keepdim=True) / count_E11.clamp_min(1)
    others_E1F = ((1 - given_EN1) * x_ENF).sum(1, keepdim=True) / others_E11.clamp_min(1)
    return (given_E1F - others_E1F) * ((count_E11 > 0) & (others_E11 > 0)).to(x_ENF.dtype)


def shifted(x_ENF: Tensor, known_EN: Tensor) -> Tensor:
    """The rows without a label moved, so that their mean is that of the rows with one."""
    return x_ENF + (known_EN < 0).to(x_ENF.dtype).unsqueeze(-1) * shift(x_ENF, known_EN)
