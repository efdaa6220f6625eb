"""A linear head on features of length 1."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from pydantic import Field
from torch import Tensor, nn

from imcswav.heads import Head
from imcswav.plugins import hookimpl


class Mine(Head, name="mine"):
    """Rows scaled to length 1, then one linear layer; their direction decides, not their length."""

    class Config(Head.Config):
        width: Annotated[int, Field(ge=1)] | Literal["clusters"] = "clusters"
        """Width of the output; "clusters" is K."""
        scale: float = Field(10.0, gt=0)
        """Length of the rows before the layer."""

        def out_features(self, in_features: int, clusters: int) -> int:
            """``width``, or K."""
            return clusters if self.width == "clusters" else self.width

    config: Config

    def __init__(self, config: Any, *, in_features: int, clusters: int) -> None:
        super().__init__(config, in_features=in_features, clusters=clusters)
        self.layer = nn.Linear(in_features, self.out_features)

    def forward(self, x_MF: Tensor) -> Tensor:
        """Rows (M, in_features) to rows (M, out_features)."""
        out: Tensor = self.layer(self.config.scale * F.normalize(x_MF, dim=-1))
        return out


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
