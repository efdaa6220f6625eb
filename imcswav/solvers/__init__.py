"""Assignment solvers: scores of images against prototypes → target codes."""

from __future__ import annotations

from torch import Tensor, nn

from imcswav.component import Component


class Solver(Component, nn.Module, kind="solver"):
    """A solver maps scores (G, B, P) to codes (G, B, P): rows are distributions over prototypes.

    Called without gradient. Half precision is promoted to float32; float64 stays float64.
    """

    def compilable(self) -> bool:
        """Whether torch.compile may take ``forward``: tensor operations alone, the same ones in every step."""
        return False

    def forward(self, scores_GBP: Tensor) -> Tensor:
        """Codes of each global view, solved apart from one another."""
        raise NotImplementedError
