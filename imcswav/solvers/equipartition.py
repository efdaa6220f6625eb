"""Equipartition: balanced hard codes as an assignment problem."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from imcswav.distributed import rank, shard, whole_batch, world_size
from imcswav.plugins import hookimpl
from imcswav.solvers import Solver

Array = np.ndarray[Any, np.dtype[Any]]


class Equipartition(Solver, name="equipartition"):
    """One prototype for each image, prototype loads differing by at most one, with the largest total score.

    Exact, and what Sinkhorn tends to for ε → 0. Solved on the host
    (``scipy.optimize.linear_sum_assignment``), so it waits for the device once a step: meant for small
    batches and for comparisons. Every process of several solves the whole batch. Where any score isn't finite all
    codes are NaN.
    """

    def forward(self, scores_GBP: Tensor) -> Tensor:
        """One-hot codes (G, B, P)."""
        dtype = torch.promote_types(scores_GBP.dtype, torch.float32)
        whole_GBP = whole_batch(scores_GBP.transpose(0, 1)).transpose(0, 1).cpu().double().numpy()
        if not np.isfinite(whole_GBP).all():
            return torch.full_like(scores_GBP, torch.nan, dtype=dtype)
        chosen_GB = np.stack([_assign(scores_BP) for scores_BP in whole_GBP])
        own_BG = shard(torch.from_numpy(chosen_GB).T, rank(), world_size())
        index_GB1 = own_BG.T.to(scores_GBP.device).unsqueeze(2)
        return torch.zeros_like(scores_GBP, dtype=dtype).scatter_(2, index_GB1, 1.0)


def _assign(scores_BP: Array) -> Array:
    """Prototype of each image.

    Every prototype has ceil(B / P) places. Places left over go to fillers, which may only take a prototype's
    last place; so each of its other places gets an image.
    """
    images, prototypes = scores_BP.shape
    places = -(-images // prototypes)
    fillers = np.full((prototypes * places - images, places * prototypes), -np.inf)
    fillers[:, -prototypes:] = 0.0
    table = np.concatenate([np.tile(scores_BP, (1, places)), fillers])
    from scipy.optimize import linear_sum_assignment  # slow to import, so only where it is asked for

    _, columns = linear_sum_assignment(table, maximize=True)
    return np.asarray(columns[:images] % prototypes, dtype=np.int64)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Equipartition]
