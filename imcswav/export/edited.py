"""The edits of a model (imcswav/clustering/edits) as torch modules, for graphs."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from torch import Tensor, nn

from imcswav.clustering import Clustering
from imcswav.clustering.edits.kept import Kept
from imcswav.clustering.edits.merge import Merge
from imcswav.clustering.edits.operation import STEP, column
from imcswav.clustering.edits.refit import Refit
from imcswav.clustering.edits.split import Split


class Edited(nn.Module):
    """Probabilities (N, K) as the network gives them, with features (N, F) → those after all edits (N, K')."""

    def __init__(self, edits: Kept) -> None:
        super().__init__()
        none_NK = np.zeros((0, len(edits.ids)), np.float32)
        now = Clustering([], np.zeros((0, 1), np.float32), none_NK, edits.ids)
        steps: list[nn.Module] = []
        for edit in edits.edits:
            if isinstance(edit, Merge):
                steps.append(_Merge([column(now, cluster) for cluster in edit.clusters]))
            elif isinstance(edit, Split):
                steps.append(_Split(edit, column(now, edit.cluster), now.threshold))
            elif isinstance(edit, Refit):
                steps.append(_Refit(edit, [column(now, cluster) for cluster in edit.clusters or ()], len(now.ids)))
            now = edit.applied(now)
        self.steps = nn.ModuleList(steps)

    def forward(self, features_NF: Tensor, probabilities_NK: Tensor) -> Tensor:
        """One edit after another."""
        unit_NF = F.normalize(features_NF, dim=1)
        for step in self.steps:
            probabilities_NK = step(unit_NF, probabilities_NK)
        return probabilities_NK


class _Merge(nn.Module):
    def __init__(self, columns: list[int]) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, unit_NF: Tensor, probabilities_NK: Tensor) -> Tensor:
        first = self.columns[0]
        winner_N1 = probabilities_NK.argmax(1, keepdim=True)
        inside_N1 = torch.stack([winner_N1 == column for column in self.columns]).any(0)
        others = [place for place in range(probabilities_NK.shape[1]) if place not in self.columns]
        before = [place for place in others if place < first]
        merged_N1 = probabilities_NK[:, self.columns].amax(1, keepdim=True)
        sums_N1 = merged_N1 + probabilities_NK[:, others].sum(1, keepdim=True)
        merged_N1, others_NJ = merged_N1 / sums_N1, probabilities_NK[:, others] / sums_N1
        rival_N1 = F.pad(others_NJ, (0, 1)).amax(1, keepdim=True)  # 0 where there are no others
        above_N1, below_N1 = rival_N1 * (1 + STEP), rival_N1 * (1 - STEP)
        merged_N1 = torch.where(inside_N1, merged_N1.maximum(above_N1), merged_N1.minimum(below_N1))
        return torch.cat([others_NJ[:, : len(before)], merged_N1, others_NJ[:, len(before) :]], 1)


class _Split(nn.Module):
    def __init__(self, edit: Split, place: int, threshold: float) -> None:
        super().__init__()
        assert edit.temperature is not None
        self.place, self.threshold, self.temperature = place, threshold, edit.temperature
        self.register_buffer("centres_PF", torch.tensor(edit.centres))

    def forward(self, unit_NF: Tensor, probabilities_NK: Tensor) -> Tensor:
        place = self.place
        shares_NP = (unit_NF @ self.get_buffer("centres_PF").T / self.temperature).softmax(1)
        own_N1 = probabilities_NK[:, place : place + 1]
        others_NK = torch.cat([probabilities_NK[:, :place], probabilities_NK[:, place + 1 :]], 1)
        rival_N1 = torch.zeros_like(own_N1) if others_NK.shape[1] == 0 else others_NK.amax(1, keepdim=True)
        rival_N1 = rival_N1.clamp_min(self.threshold)
        ratio_N1 = rival_N1 / own_N1.clamp_min(torch.finfo(torch.float32).tiny)
        share_N1, nearest_N1 = shares_NP.max(1, keepdim=True)
        wanted_N1 = torch.where(ratio_N1 <= 1, torch.maximum(share_N1, (1 + ratio_N1) / 2), share_N1)
        rest_N1 = 1 - share_N1
        scale_N1 = torch.where(rest_N1 > 0, (1 - wanted_N1) / rest_N1.clamp_min(1e-30), torch.zeros_like(rest_N1))
        chosen_NP = torch.arange(shares_NP.shape[1], device=shares_NP.device) == nearest_N1
        parts_NP = own_N1 * torch.where(chosen_NP, wanted_N1, shares_NP * scale_N1)
        inside_N1 = (probabilities_NK.argmax(1, keepdim=True) == place) & (own_N1 >= self.threshold)
        lifted_NP = parts_NP.maximum(F.pad(others_NK, (0, 1)).amax(1, keepdim=True) * (1 + STEP))
        parts_NP = torch.where(inside_N1 & chosen_NP, lifted_NP, parts_NP)
        before_NK, after_NK = probabilities_NK[:, :place], probabilities_NK[:, place + 1 :]
        return torch.cat([before_NK, parts_NP[:, :1], after_NK, parts_NP[:, 1:]], 1)


class _Refit(nn.Module):
    def __init__(self, edit: Refit, columns: list[int], clusters: int) -> None:
        super().__init__()
        assert edit.weights is not None
        assert edit.bias is not None
        weights_KF = torch.zeros(clusters, len(edit.weights[0]))
        bias_K = torch.full((clusters,), -torch.inf)  # clusters without images get nothing
        weights_KF[columns], bias_K[columns] = torch.tensor(edit.weights), torch.tensor(edit.bias)
        self.register_buffer("weights_KF", weights_KF)
        self.register_buffer("bias_K", bias_K)

    def forward(self, unit_NF: Tensor, probabilities_NK: Tensor) -> Tensor:
        return (unit_NF @ self.get_buffer("weights_KF").T + self.get_buffer("bias_K")).softmax(1)
