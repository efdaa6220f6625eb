"""Many small heads over the same features, computed at once."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from torch import Tensor, nn


class Heads(nn.Module):
    """E heads of one shape: F → H, ReLU, → D, length 1, cosines with K prototypes; after TEMI, arXiv 2303.17896.

    The weights of all heads lie in one tensor a layer, so that E heads are one batched product. They are drawn on the
    CPU from ``generator``: the same on every device.
    """

    def __init__(self, copies: int, sizes: tuple[int, int, int, int], generator: torch.Generator) -> None:
        """``sizes`` are F, H, D and K."""
        super().__init__()
        width, hidden, output, clusters = sizes

        def draw(rows: int, columns: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(copies, rows, columns, generator=generator) * scale)

        self.first = draw(width, hidden, width**-0.5)
        self.first_bias = nn.Parameter(torch.zeros(copies, 1, hidden))
        self.second = draw(hidden, output, hidden**-0.5)
        self.second_bias = nn.Parameter(torch.zeros(copies, 1, output))
        self.prototypes = draw(clusters, output, 1.0)

    def forward(self, x_MF: Tensor) -> Tensor:
        """Cosines (M, E, K)."""
        shared_EMF = x_MF.expand(len(self.first), *x_MF.shape)
        hidden_EMH = torch.baddbmm(self.first_bias, shared_EMF, self.first).relu()
        rows_EMD = F.normalize(torch.baddbmm(self.second_bias, hidden_EMH, self.second), dim=2)
        return (rows_EMD @ F.normalize(self.prototypes, dim=2).mT).transpose(0, 1)

    def state(self, copy: int) -> dict[str, Tensor]:
        """The weights of one head, on the CPU and with memory of their own; ``restore`` reads them."""
        return {name: value[copy : copy + 1].detach().cpu().clone() for name, value in self.named_parameters()}

    @classmethod
    def restore(cls, state: dict[str, Tensor]) -> Self:
        """The heads that ``state`` has the weights of, in its dtype."""
        copies, width, hidden = state["first"].shape
        sizes = (width, hidden, state["second"].shape[2], state["prototypes"].shape[1])
        heads = cls(copies, sizes, torch.Generator())  # what it draws is replaced; others' draws stay as they are
        heads.to(state["first"].dtype).load_state_dict(state)
        return heads
